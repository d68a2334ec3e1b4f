"""The most that a stranger may ask for, as `--most NAME=NUMBER` says it of `anyx demo` and `anyx serve`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Protocol, runtime_checkable

from anyx.interfaces import Decoder

SIDE, TIMES = 1024, 4  # attention over a picture costs the fourth power of its side: 4 times the side, 256 times that
WHOLE = ("tokens", "steps", "size", "frames", "media", "pixels")


@runtime_checkable
class HasSize(Protocol):
    """A decoder that makes height and width, `size` in pixels, where nobody says another."""

    size: tuple[int, int]


@dataclass(frozen=True)
class Most:
    """The most that a visitor of the demo may ask for: what costs the host memory and time.

    `size` is `side` of the decoder where it is None. `media` are the files of a conversation, `pixels` those of all
    frames of a medium together; numbers that have no name here end at `other`.
    """

    tokens: int = 512
    steps: int = 200
    size: int | None = None
    frames: int = 64
    seconds: float = 30.0
    guidance: float = 50.0
    media: int = 24
    pixels: int = 2**23
    other: float = 1000.0

    def of(self, name: str) -> float:
        """The bound of a setting."""
        said: dict[str, float | None] = asdict(self)
        bound = said.get(name, self.other)
        return SIDE if bound is None else bound

    def beside(self, decoder: Decoder | None) -> Most:
        """These bounds for one decoder."""
        return self if self.size is not None else replace(self, size=side(decoder))


def side(decoder: Decoder | None) -> int:
    """The longest side in pixels that may be asked of a decoder: `TIMES` its own, `SIDE` at most, its own at least."""
    if not isinstance(decoder, HasSize):
        return SIDE
    own = max(decoder.size)
    return max(own, min(TIMES * own, SIDE))


def amounts(said: Sequence[str], names: Collection[str]) -> dict[str, float]:
    """`["steps=50"]` -> {"steps": 50}, what is counted as an int; ValueError names what is none."""
    found: dict[str, float] = {}
    for text in said:
        name, _, amount = text.partition("=")
        whole = name in WHOLE
        if name not in names or not (amount if whole else amount.replace(".", "", 1)).isdecimal():
            told = f"is not of the form NAME=NUMBER with a NAME of {', '.join(names)}"
            raise ValueError(f"--most {text!r} {told}; {', '.join(WHOLE)} are whole numbers")
        found[name] = int(amount) if whole else float(amount)
    return found


def bounds(said: Sequence[str]) -> Most:
    """The demo's bounds of a command line."""
    return replace(Most(), **amounts(said, asdict(Most())))  # type: ignore[arg-type]
