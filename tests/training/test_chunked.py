"""Chunked cross-entropy against torch's own on whole logits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anyx.training import chunked


@pytest.mark.parametrize("positions", [1, 5, 11])
@pytest.mark.parametrize("learns", [(True, True), (True, False), (False, True), (False, False)])
def test_loss_and_gradients_are_those_of_whole_logits(
    positions: int, learns: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "BOUND", 4 * 7 * 3)  # three positions a chunk
    states = torch.randn(positions, 4, dtype=torch.float64, requires_grad=learns[0])
    weight = torch.randn(7, 4, dtype=torch.float64, requires_grad=learns[1])
    labels = torch.randint(7, (positions,))
    seen = []

    def head(some: torch.Tensor) -> torch.Tensor:
        seen.append(len(some))
        return F.linear(some, weight)

    found = chunked.cross_entropy(states, labels, head, [weight], 7)
    wanted = F.cross_entropy(F.linear(states, weight), labels, reduction="sum")
    torch.testing.assert_close(found, wanted.float())
    assert seen == [3] * (positions // 3) + ([positions % 3] if positions % 3 else [])
    if not any(learns):
        assert not found.requires_grad
        return
    for tensor in (states, weight):
        if tensor.requires_grad:
            (mine,) = torch.autograd.grad(3 * found, tensor, retain_graph=True)
            (theirs,) = torch.autograd.grad(3 * wanted, tensor, retain_graph=True)
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)


def test_nothing_supervised_costs_nothing() -> None:
    states = torch.randn(0, 4, requires_grad=True)
    found = chunked.cross_entropy(states, torch.zeros(0, dtype=torch.long), lambda x: x, [], 4)
    found.backward()
    assert float(found) == 0
    assert states.grad is not None
