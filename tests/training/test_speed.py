"""Switches change speed and memory: gradients are the same with and without each."""

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from components import TINY
from hooked import batch, context, made
from torch import nn

from anyx.bodies import layers_of
from anyx.context import carry
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.interfaces import Condition
from anyx.schema import Stage
from anyx.training import speed
from anyx.training.history import check_same
from anyx.training.stage import select, thaw

PLAIN = Stage("s", train={"llm.lora": 1e-3}, losses={"text": 1}, data={"some": 1})
CPU = torch.device("cpu")


def gradients(model: Any, switched: AbstractContextManager[None]) -> dict[str, torch.Tensor]:
    """Of LoRA with dropout in two rows, the second of another length, before any backward pass."""
    torch.manual_seed(1)
    with switched:
        found = []
        for length in (9, 6):
            x = torch.randn(2, length, model.llm.dim, generator=torch.Generator().manual_seed(length))
            states = model.llm.states(x, torch.ones(2, length, dtype=torch.bool))
            found.append((states * x).mean())
        sum(found).backward()  # type: ignore[union-attr]
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return grads


@pytest.mark.parametrize("switch", ["recomputed", "compiled"])
def test_gradients_are_those_of_the_plain_body(switch: str) -> None:
    """What torch.compile captures is captured, and run without making C++ of it, which takes a minute."""
    model = tiny.anyx(lora={"r": 2, "targets": ["q_proj", "v_proj"], "dropout": 0.0 if switch == "compiled" else 0.5})
    thaw(model, select(model.parts(), PLAIN.train))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(p, std=0.3)
    plain = gradients(model, nullcontext())
    layers = layers_of(model.llm.model)
    ways = {"recomputed": speed.recomputed(layers), "compiled": speed.compiled(layers, backend="eager")}
    switched = gradients(model, ways[switch])
    again = gradients(model, nullcontext())
    assert plain.keys() == switched.keys() == again.keys()
    assert max(x.abs().max() for x in plain.values()) > 1e-4
    for name, x in plain.items():
        torch.testing.assert_close(switched[name], x, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(again[name], x)
    for layer in layers_of(model.llm.model):
        assert "forward" not in vars(layer)
        assert layer._compiled_call_impl is None


@pytest.mark.parametrize("kind", ["llama", "opt"])
@pytest.mark.parametrize("maker", ["experts", "gated", "routed"])
def test_adapters_read_their_own_context_when_layers_run_again(kind: str, maker: str) -> None:
    """Two forward passes of other batches before any backward pass: what is carried then is gone."""
    model, adapter = made(kind, maker)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    def run() -> dict[str, torch.Tensor]:
        adapter.zero_grad()
        found = []
        for rows in ([0, 2], [1]):
            ids, mask = batch(rows)
            with carry(context(model, adapter, rows)):
                found.append(model(input_ids=ids, attention_mask=mask, use_cache=False).logits[mask].square().mean())
        sum(found).backward()  # type: ignore[union-attr]
        return {name: p.grad.clone() for name, p in adapter.named_parameters() if p.grad is not None}

    plain = run()
    layers = layers_of(model)
    first = next(module for module in layers[-1].modules() if isinstance(module, nn.Linear))
    first.register_forward_hook(count)
    with speed.recomputed(layers):
        again = run()
    assert calls == 4  # two there, two on the way back
    assert plain.keys() == again.keys()
    for name, x in plain.items():
        torch.testing.assert_close(again[name], x)


@pytest.fixture
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("_nowhere")
def test_without_a_compiler_layers_run_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny.anyx()
    with speed.tuned(model, replace(PLAIN, compile=True), CPU):
        assert [layer._compiled_call_impl for layer in layers_of(model.llm.model)] == [None] * 2
    assert [record.message for record in caplog.records] == [
        "compile: a C++ compiler is not here; layers run as they are"
    ]


def test_liger_is_left_out_off_cuda(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny.anyx()
    before = [type(module).forward for module in model.modules()]
    with caplog.at_level(logging.INFO, "anyx"), speed.tuned(model, replace(PLAIN, liger=True), CPU):
        assert [type(module).forward for module in model.modules()] == before
    assert [record.message for record in caplog.records] == ["liger: needs CUDA; layers run as they are"]


def test_convolutions_read_by_pixel_and_say_the_same() -> None:
    decoder = StableDiffusionDecoder(**TINY["decoders"]["stable_diffusion"][0]).eval()
    maps = [module for module in decoder.modules() if isinstance(module, nn.Conv2d) and module.weight.shape[1] > 1]
    given = Condition({"prompt_embeds": torch.randn(2, 5, 12)}, {"prompt_embeds": torch.ones(2, 5, dtype=torch.bool)})
    noisy, steps = torch.randn(2, *decoder.latent_shape), torch.zeros(2, dtype=torch.long)

    def said() -> torch.Tensor:
        with torch.no_grad():
            return decoder.predict(noisy, steps, decoder.read(given))

    plain = said()
    held = [module.weight for module in maps]
    with speed.by_pixel([decoder]):
        assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in maps)
        torch.testing.assert_close(said(), plain, rtol=1e-4, atol=1e-5)
    assert all(module.weight.is_contiguous() for module in maps)
    assert all(module.weight is weight for module, weight in zip(maps, held, strict=True))


def test_layers_are_the_outermost_list() -> None:
    """Not the experts of a layer, of which there may be more."""
    assert len(layers_of(tiny.anyx().llm.model)) == 2


def test_a_run_goes_on_with_other_switches(tmp_path: Path) -> None:
    from anyx.config import check

    raw = {
        "llm": {"path": "x", "lora": {"r": 2, "targets": ["q_proj"]}},
        "data": {"some": {"type": "jsonl", "path": "none.jsonl"}},
        "stages": {"s": {"train": {"llm.lora": 1e-3}, "losses": {"text": 1}, "data": {"some": 1}, "steps": 1}},
    }
    config = check(raw)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "weights-1.safetensors").touch()
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    raw["stages"]["s"] |= {"gradient_checkpointing": True, "compile": True, "channels_last": True, "liger": True}
    check_same(tmp_path, check(raw))
    raw["stages"]["s"]["precision"] = "bf16"
    with pytest.raises(ValueError, match="precision"):
        check_same(tmp_path, check(raw))
