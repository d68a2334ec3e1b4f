"""Boxes as text: the values that are written and read, the interface of a codec, and what all codecs share.

A `Region` is a phrase with the boxes that show it. Its boxes are in pixels of the picture as the user has it, from its
upper left corner, whatever a model's own frame is: `(x, y)` a point, `(x0, y0, x1, y1)` a box, four points a
quadrilateral. Boxes in space are `(x, y, z, length x, y, z)` in metres. A codec carries a frame: which square or size
its numbers count in, and how they are rounded.

What a model writes is never trusted: `parse` raises on no text. What looks like a box and is none is counted.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Literal, NamedTuple

from anyx.media import Image

Box = tuple[float, ...]
Frame = Literal["picture", "padded_square"]
FRAMES = ("picture", "padded_square")
MARKS = re.compile(  # what parts a box's phrase from the words before, where no tag does
    r"[.,;:!?\n\[\]<>{}\u3001\u3002\u2026\u3008-\u3011\uff0c\uff1b\uff1a\uff01\uff1f]"
)


class Size(NamedTuple):
    """Width and height in pixels; of a picture of (1, 1) the pixels are shares of its sides."""

    width: float
    height: float

    @classmethod
    def of(cls, image: Image) -> Size:
        """The size of a picture."""
        height, width = image.size
        return cls(width, height)


class Region(NamedTuple):
    """A phrase ("" if none is said) and its boxes."""

    phrase: str
    boxes: tuple[Box, ...]


Content = Sequence[str | Region]


class Parsed(NamedTuple):
    """A text read: words and regions in order, and how many things in it look like boxes and are none."""

    content: tuple[str | Region, ...]
    malformed: int = 0

    @property
    def regions(self) -> list[Region]:
        """The regions alone."""
        return [item for item in self.content if isinstance(item, Region)]

    @property
    def text(self) -> str:
        """The words, those of phrases included, without any coordinates."""
        return "".join(item.phrase if isinstance(item, Region) else item for item in self.content)


class BoxCodec(ABC):
    """Boxes <-> the text of one family of models."""

    frame: str  # what the numbers count, in words
    tokens: Sequence[str] = ()  # strings that must be single tokens of the LLM's tokenizer, and no special ones

    @abstractmethod
    def format(self, content: Content, size: Size) -> str:
        """Words and regions as text; boxes are pixels of a picture of `size`, and are cut at its edges."""

    @abstractmethod
    def parse(self, text: str, size: Size) -> Parsed:
        """Words and regions of a text, boxes in pixels of a picture of `size`; nothing raises."""


def written(content: Content, form: Callable[[Region], str], between: str) -> str:
    """Words as they are and regions by `form`, with `between` where two regions meet."""
    text = ""
    for place, item in enumerate(content):
        if isinstance(item, str):
            text += item
        else:
            met = place > 0 and not isinstance(content[place - 1], str)
            text += (between if met else "") + form(item)
    return text


def scanned(
    text: str,
    pattern: re.Pattern[str],
    read: Callable[[re.Match[str]], Region | None],
    broken: re.Pattern[str],
    between: str,
    *,
    phrases: bool = True,
) -> Parsed:
    """Words and regions of a text: what `pattern` finds and `read` takes, malformed where it answers None.

    `broken` finds what looks like the beginning of a box in the words that are left. Without `phrases` in the pattern,
    a region's phrase is the words before it since the last punctuation.
    """
    content: list[str | Region] = []
    malformed, place, counted = 0, 0, 0
    for match in pattern.finditer(text):
        region = read(match)
        since = text[counted : match.start()]
        malformed += len(broken.findall(since)) + (region is None)
        counted = match.end()
        if region is None:
            continue
        words = text[place : match.start()]
        if not phrases:
            phrase = MARKS.split(since)[-1].strip()
            words = words[: words.rfind(phrase)] if phrase else words
            region = region._replace(phrase=phrase)
        if words and not (words == between and content and isinstance(content[-1], Region)):
            content.append(words)
        content.append(region)
        place = match.end()
    if place < len(text):
        content.append(text[place:])
    return Parsed(tuple(content), malformed + len(broken.findall(text[counted:])))


def shares(box: Box, size: Size, frame: Frame = "picture") -> Box:
    """Pixels of a picture, cut at its edges -> shares of its sides, or of the sides of the square it is padded to.

    Padding is equal on both sides, the odd pixel after the picture, as LLaVA's.
    """
    sides, left = _square(size, frame)
    rows = zip(box, _each(sides, box), _each(left, box), _each(size, box), strict=True)
    return tuple((min(max(value, 0.0), end) + edge) / side for value, side, edge, end in rows)


def pixels(box: Box, size: Size, frame: Frame = "picture") -> Box:
    """The way back of `shares`; what lies in the padding is cut at the picture's edge."""
    if frame == "picture":
        return tuple(value * side for value, side in zip(box, _each(size, box), strict=True))
    sides, left = _square(size, frame)
    rows = zip(box, _each(sides, box), _each(left, box), _each(size, box), strict=True)
    return tuple(min(max(value * side - edge, 0.0), end) for value, side, edge, end in rows)


def writable(box: Box, family: str, kinds: Mapping[int, str]) -> Box:
    """A box as it is; ValueError unless a family writes such, by their number of numbers, and it is one."""
    if len(box) not in kinds:
        known = " and ".join(f"{kind} of {length}" for length, kind in kinds.items())
        raise ValueError(f"boxes: {family} writes {known} numbers, but {len(box)} were given")
    if not all(map(isfinite, box)) or not upright(box):
        raise ValueError(f"boxes: {box} given; a box is x0, y0, x1, y1 in pixels, x0 and y0 not above x1 and y1")
    return box


def upright(box: Box) -> bool:
    """Whether a box has its corners in order; points and quadrilaterals have none."""
    return len(box) != 4 or (box[0] <= box[2] and box[1] <= box[3])


def one_of(name: str, value: object, allowed: Sequence[object] | Mapping[str, object]) -> None:
    """Refuse an option that is none of those allowed."""
    if value not in allowed:
        raise ValueError(f"{name}: {value!r} is not one of {', '.join(map(str, allowed))}")


def _square(size: Size, frame: Frame) -> tuple[Size, Size]:
    if frame == "picture":
        return size, Size(0, 0)
    side = max(size)
    return Size(side, side), Size((side - size.width) // 2, (side - size.height) // 2)


def _each(size: Size, box: Box) -> list[float]:
    """Width or height for each number of a box."""
    return [size[place % 2] for place in range(len(box))]
