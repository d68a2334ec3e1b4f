"""Shares of the picture's sides as plain text: `a dog [0.29, 0.05, 0.66, 0.10]` (LLaVA-1.5, LLaVA-Plus, LAMM).

LLaVA-1.5 pads a picture to a square before it is resized, and the boxes of its training data count in that square
(haotian-liu/LLaVA, issue 606): `frame: padded_square`. LAMM's count in the picture itself: `frame: picture`.
"""

from __future__ import annotations

import re

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
NUMBER = r"(?:\d{1,4}(?:\.\d{0,8})?|\.\d{1,8})"
BOX = rf"\[\s?{NUMBER}(?:\s?,\s?{NUMBER}){{3}}\s?\]"
REGION = re.compile(rf"\s?(?P<boxes>{BOX}(?:\s?{BOX})*)")
BROKEN = re.compile(r"\[\s?-?[\d.]")


class LlavaCodec(BoxCodec):
    """`precision` decimals of shares of the `frame`; several boxes of a phrase follow each other."""

    def __init__(self, *, frame: Frame = "padded_square", precision: int = 2) -> None:
        one_of("frame", frame, FRAMES)
        one_of("precision", precision, range(1, 9))
        self.side, self.precision = frame, precision
        self.frame = f"0 to 1 of the {frame.replace('_', ' ')}, rounded to {precision} decimals"

    def format(self, content: Content, size: Size) -> str:
        """The phrase, then its boxes."""

        def form(region: Region) -> str:
            return " ".join(filter(None, (region.phrase, *(self._form(box, size) for box in region.boxes))))

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions; a number above 1 or corners out of order make one malformed."""

        def read(match: re.Match[str]) -> Region | None:
            found = [tuple(map(float, re.findall(NUMBER, box))) for box in re.findall(BOX, match["boxes"])]
            if any(max(box) > 1 or not upright(box) for box in found):
                return None
            return Region("", tuple(pixels(box, size, self.side) for box in found))

        return scanned(text, REGION, read, BROKEN, BETWEEN, phrases=False)

    def _form(self, box: Box, size: Size) -> str:
        found = shares(writable(box, "LLaVA", {4: "boxes"}), size, self.side)
        return f"[{', '.join(f'{share:.{self.precision}f}' for share in found)}]"
