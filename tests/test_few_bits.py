"""An LLM in four or eight bits by bitsandbytes, where that is installed: it answers, learns, is saved and merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch.nn import functional as F

from anyx import bodies, hub
from anyx.build import build
from anyx.commands.loading import Loading, load_model
from anyx.config import check
from anyx.llm import LLM
from anyx.merging import merge
from anyx.model import AnyX
from anyx.training.speed import recomputed

pytest.importorskip("bitsandbytes", reason="the extra qlora is not installed")
LORA = {"r": 2, "targets": ["q_proj", "v_proj"]}
LAYERS = {"nf4": "Linear4bit", "int8": "Linear8bitLt"}
ASKED = [{"role": "user", "content": "What do you hear?"}]


@pytest.fixture
def body(tmp_path: Path) -> str:
    """A folder of a random Llama; scales are of 64 numbers each."""
    torch.manual_seed(5)
    folder = tmp_path / "body"
    words = tiny.tokenizer()
    words.save_pretrained(folder)
    tiny.causal_lm(words, dim=64).save_pretrained(folder)
    return str(folder)


def model_of(path: str, **llm: Any) -> AnyX:
    torch.manual_seed(6)
    return build(check({"llm": {"path": path, "lora": LORA, **llm}})).eval()


def learn(llm: LLM, steps: int = 6) -> list[float]:
    """Losses of LoRA on a line; every one of its matrices has to get gradients."""
    ids, losses = torch.tensor([[5, 6, 7, 8, 9, 10]]), []
    learnt = [parameter.requires_grad_(True) for parameter in llm.parts()["llm.lora"]]
    optimizer = torch.optim.AdamW(learnt, lr=3e-2)
    for _ in range(steps):
        states = llm.states(llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        loss = F.cross_entropy(llm.logits(states[0, :-1]), ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in learnt)
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("bits", "form"), [(4, "nf4"), (8, "int8")])
def test_the_flag_keeps_matrices_in_few_bits(
    body: str, tmp_path: Path, bits: int, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = model_of(body, dtype="bfloat16")
    folder = whole.save_pretrained(tmp_path / "model")
    few = load_model(folder, Loading("cpu", quantize=bits), None)
    assert type(few.llm.model.get_decoder().layers[1].mlp.up_proj).__name__ == LAYERS[form]

    def size(model: AnyX) -> int:
        layers = model.llm.model.get_decoder().layers.named_parameters()
        return sum(
            p.numel() * p.element_size() for name, p in layers if name.endswith("_proj.weight") or "base_" in name
        )

    assert size(few) < (0.3 if bits == 4 else 0.55) * size(whole)
    assert few.chat(ASKED, max_new_tokens=4).parts
    assert "will be cast" not in caplog.text  # bitsandbytes says it at every product
    ids = torch.tensor([[5, 6, 7, 8]])
    read = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        given, exact = (m.llm.states(m.llm.embed(ids), read).flatten().float() for m in (few, whole))
    assert F.cosine_similarity(given, exact, 0) > {"nf4": 0.9, "int8": 0.99}[form]


@pytest.mark.parametrize("form", LAYERS)
def test_lora_learns_after_a_reply_and_is_read_and_merged(body: str, tmp_path: Path, form: str) -> None:
    """A reply reads the matrices without gradients, after which bitsandbytes may lay them out anew."""
    model = model_of(body, quantize=form)
    model.chat(ASKED, max_new_tokens=4)
    losses = learn(model.llm)
    assert losses[-1] < 0.9 * losses[0]
    model.eval()
    folder = model.save_pretrained(tmp_path / "model")
    again = AnyX.from_pretrained(folder).eval()
    assert type(again.llm.model.get_decoder().layers[1].mlp.up_proj).__name__ == LAYERS[form]
    said = model.chat(ASKED, max_new_tokens=8).parts
    assert again.chat(ASKED, max_new_tokens=8).parts == said
    with again.merged():  # LoRA stays beside matrices of few bits
        assert again.chat(ASKED, max_new_tokens=8).parts == said
    merged = AnyX.from_pretrained(merge(folder, tmp_path / "merged"))
    beside = hub.load(folder, overrides=["llm.quantize=null"])
    assert type(merged.llm.model.get_decoder().layers[1].mlp.up_proj) is torch.nn.Linear
    ids = torch.tensor([[5, 6, 7, 8]])
    read = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        torch.testing.assert_close(*(m.llm.states(m.llm.embed(ids), read) for m in (merged, beside)))


@pytest.mark.parametrize("form", LAYERS)
def test_recomputed_layers_learn_the_same(body: str, form: str) -> None:
    plain = learn(model_of(body, quantize=form).llm, 3)
    llm = model_of(body, quantize=form).llm
    with recomputed(bodies.layers_of(llm.model)):
        assert learn(llm, 3) == plain


@pytest.mark.parametrize("form", LAYERS)
def test_a_checkpoint_of_few_bits_is_a_body(body: str, tmp_path: Path, form: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kept = tmp_path / "kept"
    how = bodies.quantization(form, torch.float32)
    AutoModelForCausalLM.from_pretrained(body, quantization_config=how, dtype=torch.float32).save_pretrained(kept)
    AutoTokenizer.from_pretrained(body).save_pretrained(kept)
    model = model_of(str(kept))
    assert type(model.llm.model.get_decoder().layers[1].mlp.up_proj).__name__ == LAYERS[form]
    same = model_of(body, quantize=form)
    assert model.chat(ASKED, max_new_tokens=8).parts == same.chat(ASKED, max_new_tokens=8).parts
    losses = learn(model.llm)
    assert losses[-1] < 0.9 * losses[0]
    folder = model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"its LLM is quantised \(bitsandbytes\); LoRA stays beside it"):
        merge(folder, tmp_path / "merged")
    with pytest.raises(ValueError, match=r"'nf4' given, but .* is quantised already \(bitsandbytes\); leave"):
        model_of(str(kept), quantize="nf4")
