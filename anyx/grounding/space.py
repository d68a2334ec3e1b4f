"""Boxes in space, as LAMM's 3-D tasks write them: `a chair (0.52,-1.20,0.40,0.61,0.60,0.80)`, in plain text.

The middle (x, y, z) and the lengths along the axes, in metres of the scan's own axes: there is no picture, and `size`
is not looked at.
"""

from __future__ import annotations

import re
from math import isfinite

from anyx.grounding.boxes import Box, BoxCodec, Content, Parsed, Region, Size, one_of, scanned, written

BETWEEN = ", "
NUMBER = r"-?\d{1,5}(?:\.\d{0,8})?"
BOX = rf"\(\s?{NUMBER}(?:\s?,\s?{NUMBER}){{5}}\s?\)"
REGION = re.compile(rf"\s?(?P<boxes>{BOX}(?:\s?{BOX})*)")
BROKEN = re.compile(r"\(\s?-?\d")


class SpaceCodec(BoxCodec):
    """`precision` decimals of a metre."""

    def __init__(self, *, precision: int = 2) -> None:
        one_of("precision", precision, range(1, 9))
        self.precision = precision
        self.frame = f"metres, rounded to {precision} decimals"

    def format(self, content: Content, size: Size) -> str:
        """The phrase, then its boxes."""

        def form(region: Region) -> str:
            return " ".join(filter(None, (region.phrase, *(self._form(box) for box in region.boxes))))

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions; a negative length makes one malformed."""

        def read(match: re.Match[str]) -> Region | None:
            found = [tuple(map(float, re.findall(NUMBER, box))) for box in re.findall(BOX, match["boxes"])]
            return None if any(min(box[3:]) < 0 for box in found) else Region("", tuple(found))

        return scanned(text, REGION, read, BROKEN, BETWEEN, phrases=False)

    def _form(self, box: Box) -> str:
        if len(box) != 6 or min(box[3:]) < 0 or not all(isfinite(value) and abs(value) < 1e5 for value in box):
            raise ValueError(f"boxes: a box in space is a middle and three lengths in metres, but {box} was given")
        return f"({','.join(f'{value:.{self.precision}f}' for value in box)})"
