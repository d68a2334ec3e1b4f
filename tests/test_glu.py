"""CogVLM's connector: its formula, its learned ends, its size."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from anyx.glu import GluInputProjector
from anyx.interfaces import Tokens


@torch.no_grad()
def test_the_formula_and_the_ends() -> None:
    torch.manual_seed(0)
    projector, x = GluInputProjector(6, 8, hidden=12), torch.randn(2, 4, 6)
    assert projector.ends is not None
    assert torch.equal(projector.ends, torch.zeros(2, 8))
    projector.ends.normal_()
    w = projector.state_dict()
    y = F.gelu(F.layer_norm(x @ w["proj.weight"].T, (8,), w["norm.weight"], w["norm.bias"]))
    y = (F.silu(y @ w["gate.weight"].T) * (y @ w["up.weight"].T)) @ w["down.weight"].T
    mask = torch.arange(4) < torch.tensor([[4], [2]])
    made = projector(Tokens(x, mask))
    torch.testing.assert_close(made.values[:, 1:-1], y)
    assert torch.equal(made.values[:, 0], projector.ends[:1].expand(2, -1))
    assert torch.equal(made.values[:, -1], projector.ends[1:].expand(2, -1))
    assert made.mask.sum(1).tolist() == [6, 4]
    torch.testing.assert_close(GluInputProjector(6, 8, hidden=12, ends=False)(Tokens(x, mask)).mask, mask)


def test_the_published_size() -> None:
    with torch.device("meta"):
        projector = GluInputProjector(1792, 4096)
        assert projector(Tokens.full(torch.zeros(1, 1225, 1792))).values.shape == (1, 1227, 4096)
    assert sum(p.numel() for p in projector.parameters()) == 1792 * 4096 + 3 * 4096 * 11008 + 4 * 4096
    with pytest.raises(ValueError, match="hidden must be at least 1, given 0"):
        GluInputProjector(4, 4, hidden=0)
