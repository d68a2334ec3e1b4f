"""Vectors for prompts: padding is not read, prototypes are recalled, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from anyx.bridges import BridgeInputProjector, QueryBlocksInputProjector, mixed, recalled
from anyx.interfaces import Tokens


def test_query_blocks_do_not_read_padding() -> None:
    projector = QueryBlocksInputProjector(6, 10, tokens=3, depth=2, hidden=8, heads=2).eval()
    values, mask = torch.randn(2, 5, 6), torch.tensor([[True] * 5, [True, True, False, False, False]])
    read = projector(Tokens(values, mask))
    assert read.values.shape == (2, 3, 10)
    assert read.mask.all()
    torch.testing.assert_close(projector(Tokens.full(values[1:, :2])).values[0], read.values[1])


def test_an_embedding_is_drawn_towards_its_nearest_prototypes(tmp_path: Path) -> None:
    prototypes = F.normalize(torch.randn(7, 6), dim=-1)
    x = F.normalize(prototypes[2] + 0.1 * torch.randn(6), dim=-1)[None, None]
    near = recalled(x, prototypes, neighbours=1, sharpness=20.0, share=1.0)
    torch.testing.assert_close(near[0, 0], prototypes[2])
    torch.testing.assert_close(recalled(x, prototypes, neighbours=3, sharpness=20.0, share=0.0), x)
    assert recalled(x, prototypes, neighbours=99, sharpness=20.0, share=0.5).norm() == pytest.approx(1)
    save_file({"prototypes": prototypes}, tmp_path / "memory.safetensors")
    torch.manual_seed(1)
    plain = BridgeInputProjector(6, 8, depth=1)
    torch.manual_seed(1)
    mindful = BridgeInputProjector(6, 8, depth=1, memory=str(tmp_path / "memory.safetensors"), neighbours=1, share=1.0)
    assert mindful.state_dict().keys() == plain.state_dict().keys()  # the file is named, not copied
    expected = plain(Tokens.full(prototypes[2][None, None])).values
    torch.testing.assert_close(mindful(Tokens.full(x)).values, expected)
    with pytest.raises(ValueError, match=r"it should have prototypes \(p, 5\), not \(7, 6\)"):
        BridgeInputProjector(5, 8, memory=str(tmp_path / "memory.safetensors"))


def test_several_media_are_one_by_their_weights() -> None:
    first, second = torch.randn(2, 1, 1, 6)
    found = mixed([first, second], [1.0, 3.0])
    expected = 0.25 * F.normalize(first, dim=-1) + 0.75 * F.normalize(second, dim=-1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
