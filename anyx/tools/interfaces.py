"""What is asked of a detector, a segmenter, an answerer and a text model. Each has a `name`, which stands in results.

Letters: n masks, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from jaxtyping import Bool
from torch import Tensor

from anyx.grounding.boxes import Box
from anyx.media import Image


class Found(NamedTuple):
    """One thing that a detector found: one of the words asked for, its box in pixels, a score from 0 to 1."""

    word: str
    box: Box
    score: float


class Detector(Protocol):
    """Finds things by their words."""

    name: str

    def __call__(self, image: Image, words: Sequence[str]) -> list[Found]:
        """What there is of these words, surest first; nothing where there is none."""
        ...


class Segmenter(Protocol):
    """Cuts a picture into regions."""

    name: str

    def __call__(self, image: Image, boxes: Sequence[Box] | None = None) -> Bool[Tensor, "n h w"]:
        """One mask a box, in pixels of the picture; of all that there is where no boxes are given."""
        ...


class Answerer(Protocol):
    """Answers questions about a picture in a few words."""

    name: str

    def __call__(self, image: Image, questions: Sequence[str]) -> list[str]:
        """One answer a question."""
        ...


class TextModel(Protocol):
    """A language model that sees no picture; every judge of `anyx.benchmarks` is one."""

    name: str

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """One answer a prompt."""
        ...
