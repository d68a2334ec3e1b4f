"""CogVLM (arXiv 2311.03079): `a dog [[292,046,661,101;007,008,009,010]]`, three figures a number, plain text.

Whole numbers of 000 to 999 thousandths of the picture's own sides, cut off. The phrase is the words before the
brackets, since no mark says where it begins: those since the last punctuation or bracket.
"""

from __future__ import annotations

import re

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
    upright,
    writable,
    written,
)

PARTS, LAST = 1000, 999
BETWEEN = ", "
BOX = r"\d{3}\s?,\s?\d{3}\s?,\s?\d{3}\s?,\s?\d{3}"
REGION = re.compile(rf"\s?\[\[(?P<boxes>{BOX}(?:\s?;\s?{BOX})*)\]\]")
BROKEN = re.compile(r"\[\[")


class CogVLMCodec(BoxCodec):
    """It has no options."""

    frame = "000 to 999 thousandths of the picture, cut off"

    def format(self, content: Content, size: Size) -> str:
        """All boxes of a phrase in one pair of brackets, parted by semicolons."""

        def form(region: Region) -> str:
            boxes = f"[[{';'.join(_form(box, size) for box in region.boxes)}]]" if region.boxes else ""
            return " ".join(filter(None, (region.phrase, boxes)))

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions; corners out of order make one malformed."""

        def read(match: re.Match[str]) -> Region | None:
            found = [tuple(int(n) for n in re.findall(r"\d+", box)) for box in match["boxes"].split(";")]
            if not all(upright(box) for box in found):
                return None
            return Region("", tuple(pixels(tuple(n / PARTS for n in box), size) for box in found))

        return scanned(text, REGION, read, BROKEN, BETWEEN, phrases=False)


def _form(box: Box, size: Size) -> str:
    found = shares(writable(box, "CogVLM", {4: "boxes"}), size)
    return ",".join(f"{min(int(share * PARTS), LAST):03d}" for share in found)
