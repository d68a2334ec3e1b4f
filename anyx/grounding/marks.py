"""Set-of-mark prompting (arXiv 2310.11441): numbers are drawn on the picture, and text speaks of `[n]`.

The marks are boxes that something else has found; `draw.mark` writes their numbers on the picture, which the model then
reads. A number names a mark, so nothing is rounded and the model needs no training for it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from anyx.grounding.boxes import Box, BoxCodec, Content, Parsed, Region, Size, scanned, written

BETWEEN = ", "
MARK = r"\[\s?\d{1,4}\s?\]"
REGION = re.compile(rf"\s?(?P<marks>{MARK}(?:\s?{MARK})*)")
BROKEN = re.compile(r"\[\s?\d")


class MarkCodec(BoxCodec):
    """`marks` are the boxes by number, the first of which is 1, in pixels of the picture."""

    def __init__(self, *, marks: Sequence[Sequence[float]] = ()) -> None:
        self.marks = [tuple(float(value) for value in mark) for mark in marks]
        self.frame = f"one of {len(self.marks)} marks on the picture"

    def format(self, content: Content, size: Size) -> str:
        """The phrase, then the numbers of its boxes; a box must be one of the marks."""

        def form(region: Region) -> str:
            return " ".join(filter(None, (region.phrase, *(self._form(box) for box in region.boxes))))

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions; a number that no mark has makes one malformed."""

        def read(match: re.Match[str]) -> Region | None:
            numbers = [int(n) for n in re.findall(r"\d+", match["marks"])]
            if not all(1 <= n <= len(self.marks) for n in numbers):
                return None
            return Region("", tuple(self.marks[n - 1] for n in numbers))

        return scanned(text, REGION, read, BROKEN, BETWEEN, phrases=False)

    def _form(self, box: Box) -> str:
        if tuple(box) not in self.marks:
            raise ValueError(f"boxes: {box} is none of the {len(self.marks)} marks")
        return f"[{self.marks.index(tuple(box)) + 1}]"
