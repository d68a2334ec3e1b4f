"""An LLM in four bits: it loads, learns by LoRA, is saved without its body; and what is said where that cannot be."""

import importlib.util
from pathlib import Path

import pytest
import tiny
import torch

from anyx import bodies
from anyx.llm import LLM
from anyx.training.stage import select

LORA = {"r": 2, "targets": ["q_proj", "v_proj"]}
PRESENT = importlib.util.find_spec("bitsandbytes") is not None


def test_a_form_is_one_that_is_known() -> None:
    with pytest.raises(ValueError, match=r"llm.quantize: 'int3' is not one of nf4, int8"):
        bodies.quantization("int3", torch.float32)
    with pytest.raises(ValueError, match=r"llm.quantize: 'nf4' given, but llm.path is a configuration"):
        LLM.load({"model_type": "llama"}, tokenizer="nowhere", quantize="nf4")


@pytest.mark.skipif(PRESENT, reason="bitsandbytes is installed")
def test_the_extra_is_named_where_it_is_missing(tiny_llm_folder: str) -> None:
    with pytest.raises(ValueError, match=r"needs bitsandbytes; install the extra: pip install -e '.\[qlora\]'"):
        LLM.load(tiny_llm_folder, quantize="nf4")


@pytest.mark.skipif(not PRESENT, reason="bitsandbytes is not installed (the extra qlora)")
def test_four_bits_learn_by_lora(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    words.save_pretrained(tmp_path)
    tiny.causal_lm(words, dim=64).save_pretrained(tmp_path)  # scales are of 64 numbers each
    llm = LLM.load(str(tmp_path), tokens={"image": 2}, lora=LORA, quantize="nf4")
    layer = llm.model.get_decoder().layers[0].mlp.up_proj
    assert type(layer).__name__ == "Linear4bit"
    assert layer.weight.dtype == torch.uint8
    assert {parameter.dtype for name in ("llm.lora", "llm.signal_tokens") for parameter in llm.parts()[name]} == {
        torch.float32
    }
    assert all(parameter.is_floating_point() for parameter in llm.parts()["llm.body"])
    selection = select(llm.parts(), {"llm.lora": 1e-2, "llm.signal_tokens": 1e-2})
    for parameter in selection.parameters():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(selection.parameters(), lr=1e-2)
    ids = torch.tensor([[5, 6, 7, llm.vocabulary, llm.vocabulary + 1]])
    before, losses = layer.weight.clone(), []
    for _ in range(8):
        states = llm.states(llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        losses.append(torch.nn.functional.cross_entropy(llm.logits(states[0, :-1]), ids[0, 1:]))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(layer.weight, before)
    again = LLM.load(str(tmp_path), tokens={"image": 2}, lora=LORA, quantize="nf4")
    with torch.no_grad():
        again.load_own_state(llm.own_state())
        read = torch.ones_like(ids, dtype=torch.bool)
        assert torch.equal(again.states(again.embed(ids), read), llm.states(llm.embed(ids), read))
