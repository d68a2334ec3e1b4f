"""Boxes with their phrases drawn on the picture, a colour a region; numbers of set-of-mark prompting."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from anyx.grounding.boxes import Box, Region
from anyx.media import Image

Colour = tuple[int, int, int]
GOLDEN = 0.618033988749895  # of a turn: neighbours on this walk around the circle of hues are far from each other


def colours(count: int) -> list[Colour]:
    """As many different colours, the same ones every time: bright, with neighbours in the list far apart."""
    rounds = [
        (place * GOLDEN % 1.0, 0.55 + 0.45 * (place % 2), 1.0 - 0.35 * (place % 3 == 2)) for place in range(count)
    ]
    return [_rgb(hue, saturation, value) for hue, saturation, value in rounds]


def draw(image: Image, regions: Sequence[Region], *, width: int | None = None) -> Image:
    """The picture with every region's boxes outlined in one colour and its phrase beside the first corner.

    Lines are `width` pixels (default: of the picture's size) and lie inside of their boxes; points are discs.
    """
    canvas = image.to_pil()
    pen = ImageDraw.Draw(canvas)
    line = width or max(2, round(max(canvas.size) / 250))
    font = ImageFont.load_default(size=max(10, max(canvas.size) // 40))
    for region, colour in zip(regions, colours(len(regions)), strict=True):
        for box in region.boxes:
            _outline(pen, _inside(box, canvas), colour, line)
    for region, colour in zip(regions, colours(len(regions)), strict=True):  # no line runs through words
        for box in region.boxes if region.phrase.strip() else ():
            _label(pen, canvas, _inside(box, canvas), region.phrase.strip(), colour, font, line)
    return Image.read(canvas)


def mark(image: Image, boxes: Sequence[Box]) -> Image:
    """The picture with boxes numbered from 1, as the marks of `set_of_mark`."""
    return draw(image, [Region(str(number), (tuple(box),)) for number, box in enumerate(boxes, 1)])


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue


def _inside(box: Box, canvas: PILImage.Image) -> list[float]:
    """The box's corners as pixels that the picture has."""
    if len(box) not in (2, 4, 8):
        raise ValueError(f"boxes: points, boxes and quadrilaterals are drawn, but one of {len(box)} numbers was given")
    return [min(max(value, 0), canvas.size[place % 2] - 1) for place, value in enumerate(box)]


def _outline(pen: ImageDraw.ImageDraw, box: list[float], colour: Colour, line: int) -> None:
    if len(box) == 2:
        pen.ellipse([value - 2 * line for value in box] + [value + 2 * line for value in box], fill=colour)
    elif len(box) == 4:
        x0, x1 = sorted((round(box[0]), round(box[2])))
        y0, y1 = sorted((round(box[1]), round(box[3])))
        pen.rectangle((x0, y0, x1, y1), outline=colour, width=line)
    else:
        pen.line([*box, *box[:2]], fill=colour, width=line)


def _label(
    pen: ImageDraw.ImageDraw,
    canvas: PILImage.Image,
    box: list[float],
    phrase: str,
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    line: int,
) -> None:
    """Words on a ground of the region's colour, above its upper left corner or, at the picture's edge, below it."""
    x, y = min(box[::2]), min(box[1::2])
    left, top, right, bottom = pen.textbbox((0, 0), phrase, font=font)
    wide, high = right - left + 2 * line, bottom - top + 2 * line
    x, y = max(0, min(x, canvas.width - wide)), y - high if y >= high else y + line
    pen.rectangle((x, y, x + wide, y + high), fill=colour)
    dark = sum(colour) > 3 * 128
    pen.text((x + line - left, y + line - top), phrase, fill=(0, 0, 0) if dark else (255, 255, 255), font=font)
