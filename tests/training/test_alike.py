"""Three layers that stand for many cost what the many cost."""

import dataclasses
from contextlib import nullcontext
from typing import Any

import pytest
import tiny
import torch
from torch import nn
from transformers import LlamaForCausalLM

from anyx.llm import LLM
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import alike, forecast


def deep(lora: dict[str, Any] | None = None) -> AnyX:
    """tiny's model with seven layers, on `meta`."""
    with torch.device("meta"):
        model: AnyX = tiny.anyx()
        tokenizer = tiny.tokenizer()
        config = tiny.causal_lm(tokenizer).config
        config.num_hidden_layers = 7
        body = LlamaForCausalLM(config)
        groups = {key: len(port.ids) for key, port in model.outputs.items()}
        model.llm = LLM(body, tokenizer, tokens=groups, lora=lora)
    return model


STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "read": ("inputs.*.projector", {}),
    "in bf16": ("inputs.*.projector", {"precision": "bf16"}),
    "recomputed": ("inputs.*.projector", {"gradient_checkpointing": True}),
    "body": ("llm.body", {"precision": "bf16"}),
    "lora": ("llm.lora", {"precision": "bf16", "gradient_checkpointing": True}),
    "behind a prefix": ("llm.signal_tokens", {}),
}


@pytest.mark.parametrize("name", STAGES)
def test_three_layers_cost_what_all_cost(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    train, options = STAGES[name]
    stage = Stage("s", train={train: 1e-4}, losses={"text": 1}, data={"some": 1}, batch_size=3, precision="fp32")
    stage = dataclasses.replace(stage, **options)
    model = deep({"r": 2, "targets": ["q_proj"]} if name == "lora" else None)
    called: list[int] = []
    for index, layer in enumerate(model.llm.model.get_decoder().layers):
        bind(layer.mlp, lambda index=index: called.append(index))
    few = forecast.rehearse(model, stage, 24, supervised=1)
    assert set(called) == {0, 1, 2}
    monkeypatch.setattr(forecast, "shortened", lambda llm, seen: nullcontext())
    all_layers = forecast.rehearse(model, stage, 24, supervised=1)
    assert set(called) == set(range(7))
    assert few.works == all_layers.works
    assert few.calls == all_layers.calls
    assert few.memory[:3] == all_layers.memory[:3]
    assert few.memory.activations == pytest.approx(all_layers.memory.activations, rel=0.01)


def bind(module: nn.Module, note: Any) -> None:
    """Note a call without a hook, as hooked layers are rehearsed one by one."""
    forward = module.forward

    def run(*given: Any) -> Any:
        note()
        return forward(*given)

    module.forward = run


def test_layers_that_differ_or_are_hooked_are_all_rehearsed() -> None:
    layers = [nn.Linear(2, 2), nn.Linear(2, 2)]
    assert alike.alike(layers)
    handle = layers[1].register_forward_hook(lambda *_: None)
    assert not alike.alike(layers)
    handle.remove()
    assert alike.alike(layers)
    layers[1].requires_grad_(False)
    assert not alike.alike(layers)
    assert not alike.alike([nn.Linear(2, 2), nn.Linear(2, 3)])
