"""What an agent is tried with: a talker that says what is written down, and small tools of words."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from anyx.agents.interfaces import Result
from anyx.grounding.boxes import Size
from anyx.media import Image
from anyx.reply import Media
from anyx.tools.interfaces import Found
from anyx.watching import Cancelled, Watch


class Script:
    """Says its replies in order, in pieces of three letters, the last one again and again; keeps what it was sent."""

    name = "script"

    def __init__(self, *replies: str | Media, reads: Sequence[str] = (), pause: float = 0.0) -> None:
        self.replies, self.reads, self.pause = list(replies), reads, pause
        self.sent: list[list[Mapping[str, Any]]] = []
        self.closed = 0

    def stream(self, messages: Sequence[Mapping[str, Any]], watch: Watch) -> Generator[str | Media]:
        self.sent.append(list(messages))
        reply = self.replies[min(len(self.sent), len(self.replies)) - 1]
        try:
            for piece in [reply[at : at + 3] for at in range(0, len(reply), 3)] if isinstance(reply, str) else [reply]:
                if watch.cancelled:
                    raise Cancelled("cancelled")
                time.sleep(self.pause)
                yield piece
        finally:
            self.closed += 1


def add(a: int, b: int = 1) -> str:
    """Add two whole numbers."""
    return str(a + b)


def invert(image: Image) -> Result:
    """Turn a picture's colours around."""
    return Result("turned around", (Image(255 - image.pixels),))


def corner(image: Image) -> Result:
    """Find the upper left quarter."""
    height, width = image.size
    return Result("1 found", (), (Found("corner", (0, 0, width / 2, height / 2), 0.876),), Size.of(image))


def broken(text: str) -> str:
    """Fail."""
    raise RuntimeError(f"a secret about {text}")
