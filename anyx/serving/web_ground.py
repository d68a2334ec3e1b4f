"""Places in a picture as the grounding tab has them: a picture, boxes drawn on it, a request, regions of the answer.

Which text stands for a box says the input that reads the picture: `inputs.<key>.boxes` in the model's YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from anyx.grounding import Box, BoxCodec, Region, Size, codec
from anyx.grounding.draw import draw
from anyx.media import Image
from anyx.model import AnyX

PLACE = "{box}"  # where a box stands in the words


class Ground(NamedTuple):
    """The input whose pictures have boxes, how they are said, and the tasks that the model was trained on."""

    key: str
    codec: BoxCodec
    tasks: Mapping[str, str]

    def message(self, picture: Image, task: str, words: str, boxes: Sequence[Box], model: AnyX) -> dict[str, Any]:
        """A user's message: the picture, and the words as the task wants them with the boxes in their places."""
        said = with_boxes(words, [self.codec.format([Region("", (box,))], Size.of(picture)) for box in boxes])
        asked = model.processor.prompt.template.asked(task, said) if task else said
        if not asked:
            raise ValueError("nothing was asked: choose a task, or type something")
        return {
            "role": "user",
            "content": [{"type": self.key, "media": picture}, {"type": "text", "text": asked}],
        }

    def found(self, picture: Image, text: str) -> tuple[str, list[Region], Image]:
        """The words of an answer, its regions, and the picture with them drawn."""
        parsed = self.codec.parse(text, Size.of(picture))
        return parsed.text, parsed.regions, draw(picture, parsed.regions)


def ground_of(model: AnyX) -> Ground | None:
    """The first input of pictures whose boxes the model can say; None where there is none."""
    for key, port in model.config.inputs.items() if model.config else ():
        if port.boxes and model.inputs[key].kind is Image:
            options = dict(port.boxes)
            return Ground(key, codec(options.pop("type"), options), model.processor.prompt.template.tasks)
    return None


def with_boxes(words: str, texts: Sequence[str]) -> str:
    """Each `{box}` in the words, or else their end, replaced by a box as the model reads it."""
    pieces = words.split(PLACE)
    if len(pieces) == 1:
        return " ".join(filter(None, (words.strip(), *texts)))
    if len(pieces) - 1 != len(texts):
        raise ValueError(f"the words have {len(pieces) - 1} places {PLACE}, but there are {len(texts)} boxes")
    return pieces[0] + "".join(text + piece for text, piece in zip(texts, pieces[1:], strict=True))


def box_of(text: str, picture: Image) -> Box:
    """`"10, 20, 110, 220"` -> a box within the picture, in its pixels."""
    try:
        box = tuple(float(number) for number in text.split(","))
    except ValueError:
        box = ()
    width, height = Size.of(picture)
    if len(box) != 4 or not (0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
        raise ValueError(
            f"box: {text[:40]!r} given; it is x0, y0, x1, y1, pixels of a picture of {width:g} x {height:g}"
        )
    return box


def corners(one: tuple[float, float], other: tuple[float, float]) -> Box:
    """The box between two points."""
    (x0, x1), (y0, y1) = sorted((one[0], other[0])), sorted((one[1], other[1]))
    return x0, y0, x1, y1
