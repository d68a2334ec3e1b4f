"""LoRA merged for the length of a block: the same answers, and afterwards the same weights, bit for bit."""

from __future__ import annotations

import pytest
import tiny
import torch

from anyx.llm import LLM


@pytest.mark.parametrize("targets", [["q_proj", "down_proj"], ["q_proj", "lm_head"]])
def test_merged_weights_say_the_same_and_leave_nothing(targets: list[str]) -> None:
    torch.manual_seed(0)
    words = tiny.tokenizer()
    llm = LLM(tiny.causal_lm(words), words, lora={"r": 4, "alpha": 8, "targets": targets})
    with torch.no_grad():
        for parameter in llm.parts()["llm.lora"]:
            parameter.normal_(std=0.3)
    before = {name: tensor.clone() for name, tensor in llm.model.state_dict().items()}
    ids = torch.tensor([[5, 6, 7, 8]])

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            return llm.logits(llm.states(llm.embed(ids), torch.ones_like(ids, dtype=torch.bool)))

    apart = logits()
    with llm.merged():
        changed = {name for name, tensor in llm.model.state_dict().items() if not torch.equal(tensor, before[name])}
        kinds = {target for target in targets if any(target in name for name in changed)}
        assert kinds == set(targets) - {"lm_head"}  # the tied table would change what is read, too
        assert all("base_layer" in name for name in changed)
        torch.testing.assert_close(logits(), apart, atol=1e-5, rtol=1e-4)
        with llm.merged():  # once is enough
            torch.testing.assert_close(logits(), apart, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(logits(), apart, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in llm.model.state_dict().items())
    torch.testing.assert_close(logits(), apart, atol=0, rtol=0)
    with pytest.raises(KeyError), llm.merged():
        raise KeyError
    assert all(torch.equal(tensor, before[name]) for name, tensor in llm.model.state_dict().items())
