"""Kosmos-2 (arXiv 2306.14824): `<phrase> a dog</phrase><object><patch_index_0044><patch_index_0863></object>`.

The picture's own sides are cut into `grid` bins each; a box is the bin of its upper left corner (rounded down) and that
of its lower right corner (up, less one), counted row by row. It is read as the middles of the two bins, or, where both
lie in one row or column, as their outer edges. Boxes of one phrase are parted by `</delimiter_of_multi_objects/>`.

transformers' processor writes a space between these tokens, and its reader knows none: what it has written itself it
reads as no entity at all. Here both spellings are read; `published` reads as that reader does, and writes as that
processor does, corners out of order too.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from anyx.grounding.boxes import (
    Box,
    BoxCodec,
    Content,
    Parsed,
    Region,
    Size,
    pixels,
    scanned,
    shares,
    writable,
    written,
)

DELIMITER = "</delimiter_of_multi_objects/>"
KINDS = {4: "boxes"}
BROKEN = re.compile(r"<object>")
TAG = re.compile(r"<[^<>]*>")


class Bins(NamedTuple):
    """The two bins of a box, counted row by row from 0."""

    upper_left: int
    lower_right: int


class KosmosCodec(BoxCodec):
    """`grid` bins a side; `spaced` writes spaces as transformers' processor, `published` reads and writes as it."""

    def __init__(self, *, grid: int = 32, spaced: bool = False, published: bool = False) -> None:
        if grid < 1:
            raise ValueError(f"grid: {grid} given; it is 1 or more")
        self.grid, self.spaced, self.published = grid, spaced, published
        self.frame = f"{grid} x {grid} bins of the picture"
        tags = ("<phrase>", "</phrase>", "<object>", "</object>", DELIMITER)
        self.tokens = (*tags, *(f"<patch_index_{index:04d}>" for index in range(grid * grid)))
        space = "" if published else r"\s?"
        one = rf"{space}<patch_index_\d{{1,4}}>{space}<patch_index_\d{{1,4}}>"
        boxes = rf"<object>(?P<boxes>{one}(?:{space}{DELIMITER}{one})*){space}</object>"
        phrase = r"(?:<phrase>(?P<phrase>[^<]*)</phrase>)?"
        self._region = re.compile(phrase + boxes)

    def format(self, content: Content, size: Size) -> str:
        """Phrases keep the space that begins them."""
        gap = " " if self.spaced else ""

        def form(region: Region) -> str:
            given = region.boxes if self.published else [writable(box, "Kosmos-2", KINDS) for box in region.boxes]
            found = [self.bins(shares(box, size)) for box in given]
            pairs = [f"<patch_index_{a:04d}>{gap}<patch_index_{b:04d}>" for a, b in found]
            boxes = f"<object>{gap}{f'{gap}{DELIMITER}{gap}'.join(pairs)}{gap}</object>" if pairs else ""
            return (f"<phrase>{region.phrase}</phrase>" if region.phrase else "") + boxes

        return written(content, form, "")

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions; a bin outside of the grid makes one malformed. Tags that are left are taken out of the words."""

        def read(match: re.Match[str]) -> Region | None:
            numbers = [int(n) for n in re.findall(r"\d+", match["boxes"])]
            found = [Bins(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
            if any(not self._is_box(bins) for bins in found):
                return None
            return Region(match["phrase"] or "", tuple(pixels(self.shares(bins), size) for bins in found))

        parsed = scanned(text, self._region, read, BROKEN, "")
        bare = (TAG.sub("", item) if isinstance(item, str) else item for item in parsed.content)
        return parsed._replace(content=tuple(item for item in bare if item != ""))

    def bins(self, box: Box) -> Bins:
        """Shares of the sides -> the two bins."""
        last = self.grid - 1
        x0, y0 = (min(math.floor(value * self.grid), last) for value in box[:2])
        x1, y1 = (max(math.ceil(value * self.grid - 1), 0) for value in box[2:])
        if not self.published:
            x1, y1 = max(x0, x1), max(y0, y1)  # of a box without width on the border of two bins
        return Bins(y0 * self.grid + x0, y1 * self.grid + x1)

    def shares(self, bins: Bins) -> Box:
        """The two bins -> shares of the sides."""
        (y0, x0), (y1, x1) = (divmod(index, self.grid) for index in bins)
        inner = 0.0 if x0 == x1 or y0 == y1 else 0.5
        cell = 1.0 / self.grid
        corners = (x0 + inner, y0 + inner, x1 + 1 - inner, y1 + 1 - inner)
        return tuple(corner * cell for corner in corners)

    def _is_box(self, bins: Bins) -> bool:
        (y0, x0), (y1, x1) = (divmod(index, self.grid) for index in bins)
        return max(bins) < self.grid**2 and x0 <= x1 and y0 <= y1
