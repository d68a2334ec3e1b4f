"""Boxes of a request and of its answer: numbers on the command line -> the model's own text, and back.

Which text, says the input that reads the picture: `inputs.<key>.boxes` in the model's YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from anyx.grounding import Box, BoxCodec, Region, Size, codec
from anyx.grounding.draw import draw, mark
from anyx.grounding.marks import MarkCodec
from anyx.media import Image

if TYPE_CHECKING:
    from anyx.schema import Input

PLACE = "{box}"  # where a box stands in the words of a request
FILES = ("boxes.json", "boxes.png")
NOWHERE = Size(1, 1)  # of media that are no pictures; their codecs count in units of their own


class Ground(NamedTuple):
    """What boxes lie in: the number of the medium in the request, itself (None if it is no picture), its codec."""

    number: int
    image: Image | None
    codec: BoxCodec

    @property
    def size(self) -> Size:
        """What boxes are said in."""
        return Size.of(self.image) if self.image else NOWHERE


def ground_of(inputs: Mapping[str, Input], media: Sequence[tuple[str, Path]], boxes: Sequence[Box]) -> Ground | None:
    """The first medium whose input has a codec; `boxes` are the marks of one that names marks."""
    for number, (key, path) in enumerate(media):
        if key in inputs and inputs[key].boxes is not None:
            given = dict(inputs[key].boxes or {})
            made = codec(given.pop("type"), given)
            image = Image.read(path) if inputs[key].media == "image" else None
            if isinstance(made, MarkCodec) and boxes and image is not None:
                return Ground(number, mark(image, boxes), MarkCodec(marks=boxes))
            return Ground(number, image, made)
    return None


def numbers(given: Sequence[str]) -> list[Box]:
    """`--box 10,20,110,220` -> [(10.0, 20.0, 110.0, 220.0)], in pixels of the picture."""
    boxes = []
    for text in given:
        try:
            boxes.append(tuple(float(number) for number in text.split(",")))
        except ValueError:
            boxes.append(())
        if not boxes[-1] or not all(abs(value) < 1e6 for value in boxes[-1]):
            raise ValueError(f"--box {text!r} is not of the form x0,y0,x1,y1, pixels from the upper left corner")
    return boxes


def with_boxes(words: str, boxes: Sequence[Box], ground: Ground | None) -> str:
    """The words with each `{box}` in them, in order, or else their end, replaced by a box as the model reads it."""
    if not boxes and (ground is None or PLACE not in words):
        return words
    if ground is None:
        raise ValueError("--box: no input of this request has boxes; give --image, or another of the model's with some")
    if words.count(PLACE) not in (0, len(boxes)):
        raise ValueError(f"--box: {len(boxes)} given, but the words have {words.count(PLACE)} places {PLACE}")
    if PLACE not in words and isinstance(ground.codec, MarkCodec):
        return words  # they are on the picture
    texts = [ground.codec.format([Region("", (box,))], ground.size) for box in boxes]
    if PLACE not in words:
        return " ".join(filter(None, (words, *texts)))
    pieces = words.split(PLACE)
    return pieces[0] + "".join(text + piece for text, piece in zip(texts, pieces[1:], strict=True))


def save(ground: Ground, text: str, out: Path) -> tuple[list[Path], int]:
    """Write the boxes of an answer as JSON and on the picture, if it has any; how many of them are malformed."""
    parsed = ground.codec.parse(text, ground.size)
    if not parsed.regions:
        return [], parsed.malformed
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "text": parsed.text,
        "size": list(ground.size) if ground.image else None,
        "regions": [
            {"phrase": region.phrase, "boxes": [list(box) for box in region.boxes]} for region in parsed.regions
        ],
        "malformed": parsed.malformed,
    }
    files = [out / FILES[0]]
    files[0].write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if ground.image is not None:
        files.append(draw(ground.image, parsed.regions).save(out / FILES[1]))
    return files, parsed.malformed
