"""Fuyu (adept/fuyu-8b): `a sign<box>y0, x0, y1, x1</box>`, `<point>x, y</point>`; of a box, the upper edge is first.

Numbers count half pixels of the picture after it was made smaller, sides in proportion, to fit into `fit` (height,
width); a smaller picture is left as it is. They are rounded to the nearest, ties to even. A reader takes a number
times two over the scale, cut off to whole pixels before it is doubled where `published` (transformers' processor).

In the model's own ids the tags are the byte tokens <0x00> to <0x03>, which are read here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from anyx.grounding.boxes import Box, BoxCodec, Content, Parsed, Region, Size, scanned, upright, writable, written

BETWEEN = ", "
TAGS = {"<0x00>": "<box>", "<0x01>": "</box>", "<0x02>": "<point>", "<0x03>": "</point>"}
NUMBER = r"\s?\d{1,5}\s?"
ONE = rf"<box>(?:{NUMBER},){{3}}{NUMBER}</box>|<point>{NUMBER},{NUMBER}</point>"
REGION = re.compile(rf"(?:{ONE})+")
BROKEN = re.compile(r"<box>|<point>")


class FuyuCodec(BoxCodec):
    """`fit` is the height and width of the largest picture that the model reads."""

    def __init__(self, *, fit: Sequence[int] = (1080, 1920), published: bool = False) -> None:
        if len(fit) != 2 or min(fit) < 2:
            raise ValueError(f"fit: {list(fit)} given; it is a height and a width in pixels")
        self.fit, self.published = tuple(fit), published
        self.frame = f"half pixels of the picture made smaller to fit into {fit[0]} x {fit[1]}, y first"

    def format(self, content: Content, size: Size) -> str:
        """The phrase, then its boxes and points."""

        def form(region: Region) -> str:
            return region.phrase + "".join(self._form(box, size) for box in region.boxes)

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions; numbers outside of the picture or corners out of order make one malformed."""
        for token, tag in TAGS.items():
            text = text.replace(token, tag)
        scale = self.scale(size)

        def read(match: re.Match[str]) -> Region | None:
            rows = [[int(n) for n in re.findall(r"\d+", one)] for one in re.findall(ONE, match[0])]
            found = [self._pixels(row, scale) for row in rows]
            edge = 2 / scale  # the quantum
            if any(not upright(box) or _outside(box, size, edge) for box in found):
                return None
            return Region("", tuple(tuple(min(v, size[i % 2]) for i, v in enumerate(box)) for box in found))

        return scanned(text, REGION, read, BROKEN, BETWEEN, phrases=False)

    def scale(self, size: Size) -> float:
        """How much smaller a picture is made."""
        return min(1.0, self.fit[0] / size.height, self.fit[1] / size.width)

    def _form(self, box: Box, size: Size) -> str:
        writable(box, "Fuyu", {2: "points", 4: "boxes"})
        inside = (min(max(value, 0), size[place % 2]) for place, value in enumerate(box))
        numbers = [round(value / 2 * self.scale(size)) for value in inside]
        if len(numbers) == 2:
            return f"<point>{numbers[0]}, {numbers[1]}</point>"
        x0, y0, x1, y1 = numbers
        return f"<box>{y0}, {x0}, {y1}, {x1}</box>"

    def _pixels(self, numbers: Sequence[int], scale: float) -> Box:
        values = [2.0 * int(n / scale) if self.published else 2 * n / scale for n in numbers]
        return (values[1], values[0], values[3], values[2]) if len(values) == 4 else tuple(values)


def _outside(box: Box, size: Size, edge: float) -> bool:
    return any(value > size[place % 2] + edge for place, value in enumerate(box))
