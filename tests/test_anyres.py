"""The projector of LLaVA-NeXT: line ends where rows end, items of unlike length, gradients to the one learned token."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anyx.anyres import AnyResInputProjector
from anyx.encoders.clip import ClipEncoder
from anyx.interfaces import Tokens
from anyx.media import Image


def two() -> Tokens:
    """A picture of 4 tokens and a grid of 2 x 3, and one of 4 and 1 x 4."""
    mask = torch.arange(10) < torch.tensor([[10], [8]])
    return Tokens(torch.randn(2, 10, 6), mask, ((2, 3), (1, 4)))


def test_a_line_end_after_every_row() -> None:
    projector, x = AnyResInputProjector(6, 8), two()
    y = projector(x)
    assert y.mask.sum(1).tolist() == [4 + 2 * 4, 4 + 1 * 5]
    mapped = projector.mlp(x).values
    end = projector.newline[None]
    wanted = torch.cat([mapped[0, :7], end, mapped[0, 7:], end])
    torch.testing.assert_close(y.values[0, y.mask[0]], wanted)
    torch.testing.assert_close(y.values[1, y.mask[1]], torch.cat([mapped[1, :8], end]))
    assert y.layout is None
    y.values[y.mask].sum().backward()
    torch.testing.assert_close(projector.newline.grad, torch.full((8,), 3.0))


@pytest.mark.parametrize(
    ("given", "lengths"),
    [
        ({"newline": False}, [10, 8]),
        ({"whole": False}, [8, 5]),
        ({"maxpool": True, "newline": False}, [5, 4]),
        ({"limit": 1}, [4 + 1 * 3, 9]),  # the root of 6 / 4 is 1.22: 1 x 2 are left; 1 x 4 are as many as allowed
        ({"limit": 2}, [12, 9]),
        ({"residual": 2}, [12, 9]),
    ],
)
def test_how_many_are_left(given: dict[str, Any], lengths: list[int]) -> None:
    x = two()
    if given.get("maxpool"):
        x = x._replace(layout=((2, 3), (2, 2)))
        lengths = [4 + 1, 4 + 1]
    assert AnyResInputProjector(6, 8, **given)(x).mask.sum(1).tolist() == lengths


def test_without_a_grid_there_is_one_line_end() -> None:
    x = two()._replace(layout=None)
    assert AnyResInputProjector(6, 8)(x).mask.sum(1).tolist() == [11, 9]


@pytest.mark.parametrize(("ends", "length"), [("grid", 3 * 2 * 3), ("frame", 15), ("one_token", 13), ("no_token", 12)])
def test_frames_of_a_clip(ends: Any, length: int) -> None:
    x = Tokens.full(torch.randn(1, 3 * 4 * 4, 6))._replace(layout=((3, 4, 4),))
    assert AnyResInputProjector(6, 8, frame_ends=ends)(x).values.shape == (1, length, 8)


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="frame_pool: 'mean' is not one of average, max, bilinear, none"):
        AnyResInputProjector(6, 8, frame_pool="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="limit must be at least 1, given 0"):
        AnyResInputProjector(6, 8, limit=0)


@pytest.mark.parametrize("maxpool", [False, True])
@pytest.mark.parametrize(("height", "width"), [(1, 500), (500, 1), (3, 3000), (20, 500)])
def test_a_long_and_thin_picture_keeps_its_whole(height: int, width: int, maxpool: bool) -> None:
    """Without its padding nothing, or a row, of the tiles is left; line ends stand where there are rows."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    grids = [[28, 56], [56, 28], [56, 56]]
    encoder = ClipEncoder(config={**sizes, "image_size": 28, "patch_size": 14}, grids=grids)
    projector = AnyResInputProjector(8, 16, maxpool=maxpool)
    pixels = encoder.transform(Image(torch.full((3, height, width), 9, dtype=torch.uint8)))
    tokens = encoder({name: x[None] for name, x in pixels.items()})
    assert tokens.layout is not None
    rows, columns = tokens.layout[0]
    packed = projector(tokens)
    kept = max(rows // 2, min(rows, 1)) * max(columns // 2, min(columns, 1)) if maxpool else rows * (columns + 1)
    assert packed.values.shape[1] == 4 + kept
    assert packed.mask.all()
    torch.testing.assert_close(packed.values[:, :4], projector.mlp(tokens).values[:, :4])
