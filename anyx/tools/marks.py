"""Set-of-mark prompting (Yang et al. 2023, arXiv:2310.11441): regions of a picture get numbers that can be spoken of.

A segmenter cuts the picture; regions are numbered from the largest on. Each number stands where its region is widest,
the smaller regions in it left out, in the largest letters that fit there: it lies inside its region and on no smaller
one. A region in which no legible number fits has no mark. Published is the same place, letters of one size, and more
segmenters; numbers in brackets in a reply are marks.

Letters: h height, w width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont
from torch import Tensor

from anyx.grounding.boxes import Box, one_of
from anyx.grounding.draw import Colour, colours
from anyx.grounding.marks import MARK
from anyx.media import Image
from anyx.tools.interfaces import Segmenter
from anyx.tools.sam import bounds

MODES = ("mask", "contour", "box", "number")
LEGIBLE = 10  # pixels that the smallest letters are high
MARGIN = 1  # pixels around the digits
SMALLER = 0.85  # letters that do not fit are tried in this share of their size


class Mark(NamedTuple):
    """A numbered region: its box and its mask in pixels, and the box of its number on the picture."""

    number: int
    box: Box
    mask: Bool[Tensor, "h w"]
    label: tuple[int, int, int, int]
    size: int  # of the letters


class Spoken(NamedTuple):
    """What a reply speaks of: marks in order, each once, and how often it names numbers that no mark has."""

    marks: list[Mark]
    unknown: int


class Marker:
    """Marks pictures. `mode`: the number alone, with a box or contour, or with the mask, laid over by `alpha`, too.

    Of more regions than `most` the largest get a mark.
    """

    def __init__(self, segmenter: Segmenter, *, mode: str = "mask", alpha: float = 0.1, most: int = 50) -> None:
        one_of("mode", mode, MODES)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha: {alpha} given; it is from 0 to 1")
        if most < 1:
            raise ValueError(f"most: {most} given; there is at least 1 mark")
        self.segmenter, self.mode, self.alpha, self.most = segmenter, mode, alpha, most
        self.name = f"set-of-mark@anyx-1 {mode} {alpha:g} of {segmenter.name}, {most} at most"

    def __call__(self, image: Image) -> tuple[Image, list[Mark]]:
        """The picture with marks, and these."""
        found = marks(list(self.segmenter(image, None)), self.most)
        return drawn(image, found, mode=self.mode, alpha=self.alpha), found


def marks(masks: Sequence[Bool[Tensor, "h w"]], most: int = 50) -> list[Mark]:
    """Regions by area, largest first, of those in which a number fits; of the same area as they were given."""
    ordered = sorted((mask for mask in masks if mask.any()), key=lambda mask: -int(mask.sum()))[:most]
    taken = torch.zeros_like(ordered[0]) if ordered else torch.zeros(0, 0, dtype=torch.bool)
    free = []
    for mask in reversed(ordered):
        free.append(mask & ~taken)
        taken = taken | mask
    found: list[Mark] = []
    for mask, left in zip(ordered, reversed(free), strict=True):
        number = len(found) + 1
        if placed := _placed(str(number), left.numpy()):
            found.append(Mark(number, bounds(mask), mask, *placed))
    return found


def drawn(image: Image, marks: Sequence[Mark], *, mode: str = "mask", alpha: float = 0.1) -> Image:
    """The picture with marks, a colour each; numbers last, so that nothing runs over them."""
    pixels = image.numpy().astype(np.float64)
    shades = colours(len(marks))
    for mark, colour in zip(marks, shades, strict=True):
        inside = mark.mask.numpy()
        if mode == "mask":
            pixels[inside] = (1 - alpha) * pixels[inside] + alpha * np.array(colour)
        if mode in ("mask", "contour"):
            pixels[_edge(inside)] = colour
    canvas = PILImage.fromarray(pixels.round().astype(np.uint8))
    pen = ImageDraw.Draw(canvas)
    for mark, colour in zip(marks, shades, strict=True) if mode == "box" else ():
        x0, y0, x1, y1 = mark.box
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=max(1, round(max(canvas.size) / 300)))
    for mark, colour in zip(marks, shades, strict=True):
        _write(pen, mark, colour)
    return Image.read(canvas)


def prompt(marks: Sequence[Mark]) -> str:
    """What is said of the marks before a question; nothing of none."""
    if not marks:
        return ""
    last = len(marks)
    numbers = f"the numbers 1 to {last}" if last > 1 else "the number 1"
    return f"Regions of the picture are marked with {numbers}. Name a region by its number in brackets, as [{last}].\n"


def spoken(text: str, marks: Sequence[Mark]) -> Spoken:
    """The marks that a reply names, as `[3]`; nothing raises."""
    by_number = {mark.number: mark for mark in marks}
    said = [int(found.strip("[ ]")) for found in re.findall(MARK, text)]
    known = dict.fromkeys(number for number in said if number in by_number)
    return Spoken([by_number[number] for number in known], sum(number not in by_number for number in said))


def first(text: str, last: int) -> int | None:
    """The first number in brackets that a mark of 1 to `last` has; None without one."""
    said = (int(found.strip("[ ]")) for found in re.findall(MARK, text))
    return next((number for number in said if 1 <= number <= last), None)


def _placed(text: str, free: NDArray[np.bool_]) -> tuple[tuple[int, int, int, int], int] | None:
    """Where a number fits into a region, in the largest letters of up to a twelfth of the picture, and their size."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = (np.flatnonzero(free.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return None
    size = max(LEGIBLE, max(free.shape) // 12)
    down, across = int(rows[0]), int(columns[0])
    free = free[down : rows[-1] + 1, across : columns[-1] + 1]
    depth = distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
    sums = np.pad(free, ((1, 0), (1, 0))).astype(np.int64).cumsum(0).cumsum(1)
    while True:
        left, top, right, bottom = _font(size).getbbox(text)
        wide, high = int(right - left) + 2 * MARGIN, int(bottom - top) + 2 * MARGIN
        if high <= free.shape[0] and wide <= free.shape[1]:
            inside = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
            fits = inside == high * wide
            if fits.any():
                middles = depth[high // 2 :, wide // 2 :][: fits.shape[0], : fits.shape[1]]
                row, column = np.unravel_index(int(np.where(fits, middles, -1.0).argmax()), fits.shape)
                x, y = int(column) + across, int(row) + down
                return (x, y, x + wide, y + high), size
        if size == LEGIBLE:
            return None
        size = max(LEGIBLE, int(size * SMALLER))


def _write(pen: ImageDraw.ImageDraw, mark: Mark, colour: Colour) -> None:
    """A number in black or white, whichever is told better from the ground of its region's colour."""
    x0, y0, x1, y1 = mark.label
    font = _font(mark.size)
    left, top, _, _ = font.getbbox(str(mark.number))
    bright = sum(part * weight for part, weight in zip(colour, (0.299, 0.587, 0.114), strict=True)) > 128
    letters = (0, 0, 0) if bright else (255, 255, 255)
    pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=colour)
    pen.text((x0 + MARGIN - left, y0 + MARGIN - top), str(mark.number), fill=letters, font=font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a region with a neighbour outside of it."""
    wide = np.pad(inside, 1)
    edge: NDArray[np.bool_] = inside & ~(wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:])
    return edge
