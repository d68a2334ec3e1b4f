"""Qwen-VL (arXiv 2308.12966): `<ref>a dog</ref><box>(292,46),(661,101)</box>`, one `<box>` after the other.

Whole numbers of 0 to 999 thousandths of the picture's own sides, cut off; a `<quad>` has four points, a point is not
written. The published code reads a number in two ways: `drawn` counts thousandths, `value / 1000 * side`, which is
what the numbers were made by; `evaluated` is the script that scores RefCOCO, `value / 999 * side`, so that 999 is the
edge. The tags are tokens of Qwen's own: a tokenizer that is to say them in an answer has them as added tokens that are
not special.
"""

from __future__ import annotations

import re
from typing import Literal

from anyx.grounding.boxes import (
    Box,
    BoxCodec,
    Content,
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

PARTS, LAST = 1000, 999
POINT = r"\(\d{1,4},\d{1,4}\)"
BOX = rf"<box>\s?{POINT},{POINT}</box>|<quad>\s?{POINT},{POINT},{POINT},{POINT}</quad>"
REGION = re.compile(rf"(?:<ref>(?P<phrase>(?:(?!</?ref>).)*)</ref>)?(?P<boxes>(?:{BOX})+)", re.DOTALL)
BROKEN = re.compile(r"<box>|<quad>")
SCALES = {"drawn": PARTS, "evaluated": LAST}


class QwenCodec(BoxCodec):
    """`decode` says which of the two published readings of a number is meant."""

    frame = "0 to 999 thousandths of the picture, cut off"
    tokens = ("<ref>", "</ref>", "<box>", "</box>", "<quad>", "</quad>")

    def __init__(self, *, decode: Literal["drawn", "evaluated"] = "drawn") -> None:
        one_of("decode", decode, SCALES)
        self.scale = SCALES[decode]

    def format(self, content: Content, size: Size) -> str:
        """Boxes of two corners, quadrilaterals of four points."""

        def form(region: Region) -> str:
            boxes = "".join(_form(box, size) for box in region.boxes)
            return f"<ref>{region.phrase}</ref>{boxes}" if region.phrase else boxes

        return written(content, form, "")

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions with or without a phrase; a number above 999 or corners out of order make one malformed.

        A space after a tag is read over: tokenizers of Llama's kind write one after every token of its own.
        """

        def read(match: re.Match[str]) -> Region | None:
            tagged = re.findall(BOX, match["boxes"])
            found = [tuple(int(n) for n in re.findall(r"\d+", box)) for box in tagged]
            if any(max(box) > LAST or not upright(box) for box in found):
                return None
            boxes = tuple(pixels(tuple(n / self.scale for n in box), size) for box in found)
            return Region((match["phrase"] or "").strip(), boxes)

        return scanned(text, REGION, read, BROKEN, "")


def _form(box: Box, size: Size) -> str:
    tag = "box" if len(box) == 4 else "quad"
    found = shares(writable(box, "Qwen-VL", {4: "boxes", 8: "quadrilaterals"}), size)
    numbers = [min(int(share * PARTS), LAST) for share in found]
    points = (f"({x},{y})" for x, y in zip(numbers[::2], numbers[1::2], strict=True))
    return f"<{tag}>{','.join(points)}</{tag}>"
