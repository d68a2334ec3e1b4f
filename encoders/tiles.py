"""AnyRes for any patch encoder: a picture cut into tiles of the encoder's size, its patches laid out as one grid.

`TileTransform` chooses of the grids that a YAML lists the one that keeps most of the picture, resizes with the aspect
kept, pads with black and cuts; the whole picture, squeezed to one tile, comes first. `lay_tiles` puts the patches of
all tiles of a picture together and leaves out those that saw padding only. `Tokens.layout` is the grid of what comes
after the first tile's patches; `anyx/anyres.py` writes line ends there. Facts: LLaVA-NeXT
(github.com/LLaVA-VL/LLaVA-NeXT, commit df17966); transformers' `LlavaNextForConditionalGeneration` does the same but
for one rounding.

Letters: b pictures, k tiles, n patches of a tile, p patches along its side, r rows, c columns, d width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from anyx.interfaces import Tokens
from anyx.media import Image

from .pictures import PictureTransform, normalise, pixels_of

Grid = tuple[int, int]
Merge = Literal["unpad", "unpad_rounded", "spatial", "flat"]


@dataclass(frozen=True)
class TileTransform:
    """An Image to the pixels of its tiles (1 + k, 3, size, size); `grids` are (width, height) in pixels.

    Beside them stand `grid`, the (rows, columns) of the tiles, and `size`, the picture's own (height, width). A Video
    is what `picture`, the transform of a single tile, makes of it.
    """

    picture: PictureTransform
    grids: tuple[Grid, ...]

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The pixels of all tiles."""
        if not isinstance(media, Image):
            return self.picture(media)
        height, width = media.size
        chosen = best_grid((width, height), self.grids)
        pixels = torch.stack([pixels_of(tile) for tile in cut(media.to_pil(), chosen, self.picture.size)])
        values = normalise(pixels.transpose(0, 1) / 255, self.picture.mean, self.picture.std).transpose(0, 1)
        side = self.picture.size
        return {
            "pixels": values,
            "grid": torch.tensor([chosen[1] // side, chosen[0] // side]),
            "size": torch.tensor([height, width]),
        }


def grids_of(given: Sequence[Sequence[int]], side: int) -> tuple[Grid, ...]:
    """The grids of a YAML, each (width, height) in whole tiles; ValueError for one that is none."""
    wrong = [one for one in given if len(one) != 2 or any(x < side or x % side for x in one)]
    if wrong or not given:
        told = f"{list(wrong[0])} given" if wrong else "none given"
        raise ValueError(f"grids: {told}; each is [width, height] in pixels, multiples of the encoder's {side}")
    return tuple((int(width), int(height)) for width, height in given)


def best_grid(size: Grid, grids: Sequence[Grid]) -> Grid:
    """Of (width, height)s the one in which a picture of `size` keeps most pixels, then the one that wastes least."""

    def gain(grid: Grid) -> tuple[int, int]:
        scale = min(grid[0] / size[0], grid[1] / size[1])
        shown = min(int(size[0] * scale) * int(size[1] * scale), size[0] * size[1])
        return shown, shown - grid[0] * grid[1]

    return max(grids, key=gain)


def cut(picture: PILImage.Image, grid: Grid, side: int) -> list[PILImage.Image]:
    """The picture squeezed to one tile, then its tiles, row by row: resized with its aspect, in the middle of black."""
    width, height = picture.size
    if grid[0] / width < grid[1] / height:
        inner = grid[0], min(math.ceil(height * (grid[0] / width)), grid[1])
    else:
        inner = min(math.ceil(width * (grid[1] / height)), grid[0]), grid[1]
    canvas = PILImage.new("RGB", grid, (0, 0, 0))
    corner = (grid[0] - inner[0]) // 2, (grid[1] - inner[1]) // 2
    canvas.paste(picture.resize(inner, PILImage.Resampling.BICUBIC), corner)
    corners = [(left, top) for top in range(0, grid[1], side) for left in range(0, grid[0], side)]
    tiles = [canvas.crop((left, top, left + side, top + side)) for left, top in corners]
    return [picture.resize((side, side), PILImage.Resampling.BICUBIC), *tiles]


def lay_tiles(
    encode: Callable[[Tensor], Float[Tensor, "k n d"]], inputs: Mapping[str, Tensor], merge: Merge = "unpad"
) -> Tokens:
    """Encode the tiles of every picture and lay their patches out: the whole picture's first, then the grid's."""
    pixels, real = inputs["pixels"], inputs.get("pixels_mask")  # no mask: all pictures have as many tiles
    counts = [pixels.shape[1]] * len(pixels) if real is None else real.sum(1).tolist()
    tiles = encode(pixels.flatten(0, 1) if real is None else pixels[real]).split(counts)
    sizes = zip(inputs["grid"].tolist(), inputs["size"].tolist(), strict=True)
    laid = [lay(x, (grid[0], grid[1]), (size[0], size[1]), merge) for x, (grid, size) in zip(tiles, sizes, strict=True)]
    lengths = torch.tensor([len(x) for x, _ in laid], device=pixels.device)
    values = pad_sequence([x for x, _ in laid], batch_first=True)
    mask = torch.arange(values.shape[1], device=pixels.device) < lengths[:, None]
    layouts = tuple(layout for _, layout in laid if layout is not None)
    return Tokens(values, mask, layouts or None)


def lay(
    tiles: Float[Tensor, "k n d"], grid: Grid, size: Grid, merge: Merge
) -> tuple[Float[Tensor, "m d"], Grid | None]:
    """One picture's patches in order, and the (rows, columns) of those after the first tile's; None for `flat`.

    `grid` counts tiles, `size` is the picture's (height, width). `unpad` leaves out the rows or columns of patches that
    hold padding (`unpad_rounded`: as transformers rounds), `spatial` keeps them, `flat` keeps tile after tile.
    """
    side = math.isqrt(tiles.shape[1])
    assert side * side == tiles.shape[1], f"{tiles.shape[1]} patches are no square"
    if merge == "flat":
        return tiles.flatten(0, 1), None
    whole, rest = tiles[0], tiles[1:]
    canvas = rest.reshape(*grid, side, side, -1).transpose(1, 2).reshape(grid[0] * side, grid[1] * side, -1)
    if merge != "spatial":
        canvas = unpadded(canvas, size, rounded=merge == "unpad_rounded")
    return torch.cat([whole, canvas.flatten(0, 1)]), (canvas.shape[0], canvas.shape[1])


def unpadded(canvas: Float[Tensor, "r c d"], size: Grid, *, rounded: bool = False) -> Float[Tensor, "r2 c2 d"]:
    """A canvas without the rows, or the columns, that the padding of a picture of (height, width) fills."""
    rows, columns = canvas.shape[:2]
    height, width = size

    def kept(length: int, scale: float) -> int:
        return int(round(length * scale, 7)) if rounded else int(length * scale)

    if width / height > columns / rows:
        edge = (rows - kept(height, columns / width)) // 2
        return canvas[edge : rows - edge]
    edge = (columns - kept(width, rows / height)) // 2
    return canvas[:, edge : columns - edge]
