"""MiniGPT-v2 (arXiv 2310.09478; Vision-CAIR/MiniGPT-4): `<p>a dog</p> {<45><64><50><70>}<delim>{<1><2><3><4>}`.

Whole numbers of 0 to 100 hundredths of the picture's own sides, cut off, not rounded; all of it is plain text to the
tokenizer. A number stands for the lower end of its hundredth: `value / 100 * side`, as in the published evaluation.
"""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image as PILImage

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

PARTS = 100
BETWEEN = " "
BOX = r"\{<\d{1,3}><\d{1,3}><\d{1,3}><\d{1,3}>\}"
REGION = re.compile(rf"(?:<p>(?P<phrase>(?:(?!</?p>).)*)</p>\s*)?(?P<boxes>{BOX}(?:<delim>{BOX})*)", re.DOTALL)
BROKEN = re.compile(r"\{<")
PUBLISHED = re.compile(r"<p>(.*?)\}(?!<)")


class MiniGPTCodec(BoxCodec):
    """`published` reads regions as the published demo cuts them: one ends at a brace that no `<` follows.

    So two regions without a space between them are one there, with the boxes of both; here they are two.
    """

    frame = "0 to 100 hundredths of the picture, cut off"

    def __init__(self, *, published: bool = False) -> None:
        self.published = published

    def format(self, content: Content, size: Size) -> str:
        """`{<x0><y0><x1><y1>}` a box, `<p>phrase</p> ` before the boxes of a phrase."""

        def form(region: Region) -> str:
            boxes = "<delim>".join(_form(box, size) for box in region.boxes)
            return f"<p>{region.phrase}</p> {boxes}".rstrip() if region.phrase else boxes

        return written(content, form, BETWEEN)

    def parse(self, text: str, size: Size) -> Parsed:
        """Regions with or without a phrase; a number above 100 or corners out of order make a box malformed."""

        def read(match: re.Match[str]) -> Region | None:
            found = [tuple(int(n) for n in re.findall(r"\d+", box)) for box in re.findall(BOX, match["boxes"])]
            if any(max(box) > PARTS or not upright(box) for box in found):
                return None
            boxes = tuple(pixels(tuple(n / PARTS for n in box), size) for box in found)
            return Region(match["phrase"] or "", boxes)

        if self.published:
            text = _merged(text)
        return scanned(text, REGION, read, BROKEN, BETWEEN)

    def box_of(self, mask: Bool[NDArray[np.bool_], "h w"]) -> Box:
        """The box around what is drawn on a picture, in pixels: how the demo's [identify] reads a sketch.

        The mask is first shrunk to 100 x 100 by PIL's nearest pixel; ValueError where nothing is left of it.
        """
        height, width = mask.shape
        small = PILImage.fromarray(mask.astype(np.uint8)).resize((PARTS, PARTS), PILImage.Resampling.NEAREST)
        rows, columns = np.nonzero(np.asarray(small))
        if not len(rows):
            raise ValueError("mask: nothing is drawn in it")
        corners = (columns.min(), rows.min(), columns.max(), rows.max())
        return pixels(tuple(int(n) / PARTS for n in corners), Size(width, height))


def substrings(text: str) -> list[str]:
    """What lies between `<p>` and the brace that ends a region, as the published demo cuts an answer."""
    return PUBLISHED.findall(text[: text.rfind("}") + 1])


def _merged(text: str) -> str:
    """The text with all boxes of a published region after its first phrase, words between them left out."""
    for piece in substrings(text):
        whole = f"<p>{piece}}}"
        phrase, closed, _ = piece.partition("</p>")
        if closed and (boxes := re.findall(BOX, whole)):
            text = text.replace(whole, f"<p>{phrase}</p> {'<delim>'.join(boxes)}", 1)
    return text


def _form(box: Box, size: Size) -> str:
    found = shares(writable(box, "MiniGPT-v2", {4: "boxes"}), size)
    return "{" + "".join(f"<{int(share * PARTS)}>" for share in found) + "}"
