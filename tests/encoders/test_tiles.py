"""AnyRes in the encoder: tiles in batches of unlike pictures, what padding leaves out, grids that are none."""

from __future__ import annotations

import math

import pytest
import torch

from anyx.encoders.clip import ClipEncoder
from anyx.encoders.tiles import Grid, Merge, best_grid, lay
from anyx.media import Image, Video
from anyx.processor import concatenate, stack

CONFIG = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CONFIG |= {"image_size": 28, "patch_size": 14}
GRIDS = [[28, 56], [56, 28], [56, 56], [84, 28]]


def picture(height: int, width: int) -> Image:
    return Image(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))


@pytest.mark.parametrize("merge", ["unpad", "unpad_rounded", "spatial", "flat"])
def test_pictures_of_any_size_are_read_together_as_alone(merge: str) -> None:
    encoder = ClipEncoder(config=CONFIG, grids=GRIDS, merge=merge).eval()  # type: ignore[arg-type]
    made = [encoder.transform(picture(*size)) for size in ((20, 70), (60, 50), (90, 30))]
    assert [len(one["pixels"]) for one in made] == [4, 5, 3]
    together = encoder(stack(made))
    alone = concatenate([encoder(stack([one])) for one in made])
    assert torch.equal(together.mask, alone.mask)
    torch.testing.assert_close(together.values[together.mask], alone.values[alone.mask])
    assert together.layout == alone.layout
    if merge == "flat":
        assert together.layout is None
    else:
        assert together.layout is not None
        assert [4 + math.prod(grid) for grid in together.layout] == together.mask.sum(1).tolist()


def test_a_grid_without_padding_is_the_picture_s_own_patches() -> None:
    encoder = ClipEncoder(config=CONFIG, grids=[[56, 28]]).eval()
    made = encoder.transform(picture(28, 56))
    states = encoder._states(made["pixels"])
    tokens = encoder(stack([made]))
    rows = [states[1 + tile, 2 * row : 2 * row + 2] for row in range(2) for tile in range(2)]
    assert tokens.layout == ((2, 4),)
    torch.testing.assert_close(tokens.values[0], torch.cat([states[0], *rows]))


@pytest.mark.parametrize(("side", "size", "rows"), [(6, (47, 94), (2, 4)), (24, (55, 88), (14, 16))])
def test_rounding_of_transformers_keeps_rows_that_the_original_drops(side: int, size: Grid, rows: Grid) -> None:
    """47 x (6 / 94) is 3, and 2.999... in floats: `int` makes 2 of it."""
    tiles = torch.zeros(2, side**2, 1)
    kinds: tuple[Merge, Merge] = ("unpad", "unpad_rounded")
    assert tuple(lay(tiles, (1, 1), size, kind)[1] for kind in kinds) == tuple((row, side) for row in rows)


def test_the_first_of_equal_grids_is_chosen() -> None:
    assert best_grid((10, 10), [(28, 56), (56, 28)]) == (28, 56)


def test_frames_stay_apart_where_asked() -> None:
    clip = Video(torch.randint(0, 256, (7, 3, 28, 28), dtype=torch.uint8), 5.0)
    encoder = ClipEncoder(config=CONFIG, frames=3, join="frames", grids=GRIDS).eval()
    x = encoder.transform(clip)["pixels"]
    tokens = encoder({"pixels": x[None]})
    assert tokens.layout == ((3, 2, 2),)
    torch.testing.assert_close(tokens.values[0], encoder._states(x).flatten(0, 1))


def test_padding_is_the_mean_colour() -> None:
    encoder = ClipEncoder(config=CONFIG, fit="pad")
    pixels = encoder.transform(Image(torch.full((3, 14, 28), 255, dtype=torch.uint8)))["pixels"]
    assert pixels[:, :6].abs().max() < 0.02  # (122, 116, 104) less the mean, over the deviation
    assert pixels[:, 10:18].min() > 1


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match=r"grids: \[28, 50\] given; each is \[width, height\] in pixels, multiples"):
        ClipEncoder(config=CONFIG, grids=[[28, 50]])
    with pytest.raises(ValueError, match="grids: none given"):
        ClipEncoder(config=CONFIG, grids=[])
    with pytest.raises(ValueError, match="grids: tiles are read in patches; output is global"):
        ClipEncoder(config=CONFIG, grids=GRIDS, output="global")
    with pytest.raises(ValueError, match="fit: 'squeeze' is not one of crop, pad"):
        ClipEncoder(config=CONFIG, fit="squeeze")  # type: ignore[arg-type]
