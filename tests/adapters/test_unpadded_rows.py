"""Adapters read rows laid end to end as they read padded ones, or the LLM reads them padded."""

from __future__ import annotations

import pytest
import tiny
import torch
from hooked import PAIRS, batch, context, made
from torch import Tensor

from anyx.llm import LLM

WHOLE = ("gated", "gated_all", "prompts", "experts")  # they read something of each row as a whole


@pytest.mark.parametrize(("kind", "maker"), [pair for pair in PAIRS if pair[0] in ("llama", "opt", "gpt_neox")])
def test_packed_rows_equal_padded_ones(kind: str, maker: str) -> None:
    model, adapter = made(kind, maker)
    words = tiny.tokenizer()
    model.resize_token_embeddings(len(words), mean_resizing=False)
    llm = LLM(model, words)
    ids, mask = batch([0, 1, 2])
    read = context(model, adapter, [0, 1, 2])
    assert bool(read.rowwise) == (maker in WHOLE)
    if maker in WHOLE:
        with pytest.raises(ValueError, match="pack: true given, but the adapters it read each row as a whole"):
            llm.states(llm.embed(ids), mask, None, read, pack=True)
        assert torch.equal(
            llm.states(llm.embed(ids), mask, None, read), llm.states(llm.embed(ids), mask, None, read, pack="auto")
        )
        return
    seen: list[dict[str, Tensor]] = []
    weights = torch.randn(int(mask.sum()), llm.dim)
    for pack in (False, True):
        x = llm.embed(ids).detach().requires_grad_()
        states = llm.states(x, mask, None, read, pack=pack)[mask]
        learning = dict(adapter.named_parameters())
        found = torch.autograd.grad((states * weights).sum(), [x, *learning.values()], allow_unused=True)
        gradients = {n: grad for n, grad in zip(["x", *learning], found, strict=True) if grad is not None}
        seen.append({"states": states.detach(), **gradients})
    assert seen[0].keys() == seen[1].keys()
    for name, value in seen[0].items():
        torch.testing.assert_close(seen[1][name], value, atol=2e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
