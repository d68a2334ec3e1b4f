"""Shikra (arXiv 2306.15195): boxes and points after a phrase, `the dog [0.474,0.104,0.957,0.539;...] at [0.333,0.333]`.

Shares of the sides, of the square that Shikra pads a picture to unless `frame` says otherwise, rounded to 3 decimals
before anything else. Three published styles: `plain` with 3 decimals and brackets, `small` with 2 and parentheses
(rounded twice, so 0.575 becomes 0.57), `token` with bins of thousandths (`<bin_474>`).

The published reader of the token style finds none of its own points, for it drops spaces from boxes only. `published`
reads so; here points are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from anyx.grounding.boxes import (
    FRAMES,
    Box,
    BoxCodec,
    Content,
    Frame,
    Parsed,
    Region,
    Size,
    one_of,
    pixels,
    scanned,
    shares,
    upright,
    writable,
    written,
)

BETWEEN = ", "
BINS = 1000
DECIMALS = 3
NUMBER = r"(?:\d{1,4}(?:\.\d{0,8})?|\.\d{1,8})"


class Style(NamedTuple):
    """What stands before, between and after boxes, the same for points, and how a number is written and read."""

    box: tuple[str, str, str]
    point: tuple[str, str, str]
    comma: str
    number: str
    precision: int | None  # None: bins


STYLES = {
    "plain": Style(("[", ";", "]"), ("[", ";", "]"), ",", NUMBER, 3),
    "small": Style(("(", ";", ")"), ("(", ";", ")"), ",", NUMBER, 2),
    "token": Style(("<b_st>", "<b_sep>", "<b_ed>"), ("<p_st>", "<p_sep>", "<p_ed>"), " ", r"<bin_\d{1,4}>", None),
}


class ShikraCodec(BoxCodec):
    """Boxes of a region are written before its points."""

    def __init__(
        self,
        *,
        style: Literal["plain", "small", "token"] = "plain",
        frame: Frame = "padded_square",
        published: bool = False,
    ) -> None:
        one_of("style", style, STYLES)
        one_of("frame", frame, FRAMES)
        self.style, self.side, self.published = STYLES[style], frame, published
        bins = self.style.precision is None
        how = "bins of thousandths" if bins else f"rounded to {self.style.precision} decimals"
        self.frame = f"0 to 1 of the {frame.replace('_', ' ')}, {how}"
        marks = (*self.style.box, *self.style.point, *(f"<bin_{index}>" for index in range(BINS + 1)))
        self.tokens = marks if bins else ()
        box, point = self._group(self.style.box, 4), self._group(self.style.point, 2)
        self._pattern = re.compile(rf"\s?(?:{box}|{point})")
        opening = {self.style.box[0], self.style.point[0]}
        digit = "" if bins else r"-?[\d.]"
        self._broken = re.compile("|".join(re.escape(mark) + digit for mark in sorted(opening)))

    def format(self, content: Content, size: Size) -> str:
        """The phrase, its boxes in one group, its points in another."""

        def form(region: Region) -> str:
            found = [self._shares(box, size) for box in region.boxes]
            boxes, points = [box for box in found if len(box) == 4], [box for box in found if len(box) == 2]
            groups = [self._form(boxes, self.style.box), self._form(points, self.style.point)]
            return " ".join(filter(None, (region.phrase, *groups)))

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions, each of boxes or of points; a number above 1 or corners out of order make one malformed."""

        def read(match: re.Match[str]) -> Region | None:
            length = 4 if match[f"g{4}"] else 2
            if length == 2 and self.style.precision is None and self.published:
                return None
            number = re.compile(r"\d+" if self.style.precision is None else NUMBER)
            values = [float(n) / (BINS if self.style.precision is None else 1) for n in number.findall(match[0])]
            found = [tuple(values[i : i + length]) for i in range(0, len(values), length)]
            if any(max(box) > 1 or not upright(box) for box in found):
                return None
            return Region("", tuple(pixels(box, size, self.side) for box in found))

        return scanned(text, self._pattern, read, self._broken, BETWEEN, phrases=False)

    def _shares(self, box: Box, size: Size) -> Box:
        found = shares(writable(box, "Shikra", {2: "points", 4: "boxes"}), size, self.side)
        return tuple(round(share, DECIMALS) for share in found)

    def _form(self, boxes: Iterable[Box], marks: tuple[str, str, str]) -> str:
        precision = self.style.precision
        groups = [
            self.style.comma.join(
                f"<bin_{round(value * BINS)}>" if precision is None else f"{value:.{precision}f}" for value in box
            )
            for box in boxes
        ]
        return f"{marks[0]}{marks[1].join(groups)}{marks[2]}" if groups else ""

    def _group(self, marks: tuple[str, str, str], length: int) -> str:
        comma, number = r"\s?,\s?" if self.style.comma == "," else r"\s?", self.style.number
        one = rf"{number}(?:{comma}{number}){{{length - 1}}}"
        start, between, end = map(re.escape, marks)
        return rf"(?P<g{length}>{start}\s?{one}(?:\s?{between}\s?{one})*\s?{end})"
