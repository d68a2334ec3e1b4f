"""How a reply comes about: what a caller hears of it while it is made, and how another thread stops it.

A `Watch` goes with one reply. Whoever works on it tells the watch how far a part is, and looks whether it is cancelled
before the next token and the next denoising step.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

Part = Literal["encode", "read", "say", "signal", "make"]


class Cancelled(RuntimeError):
    """The reply was cancelled before it was whole."""


class Happening(NamedTuple):
    """A part of a reply is `done` of `total` far, `at` seconds after the watch was made.

    The parts: media of an input `encode`d; positions of the prompt that the LLM `read`s; tokens that it `say`s; ids of
    the `number`-th signal group, an output's (`signal`); denoising steps that `make` its medium, at the end of which
    `finished` is told once more, when the medium is there. What is not known beforehand has a total of None.
    """

    part: Part
    key: str | None
    number: int
    done: int
    total: int | None
    at: float
    finished: bool


class Took(NamedTuple):
    """What a part took: `amount` media, positions, tokens or steps in `seconds`, from `start` on."""

    part: Part
    key: str | None
    number: int
    amount: int
    start: float
    seconds: float


class Watch:
    """One reply's: `listener` is called with each `Happening`, in the thread that works; `cancel` may come from any."""

    def __init__(self, listener: Callable[[Happening], None] | None = None) -> None:
        self._listener = listener
        self._cancelled = threading.Event()
        self._began = time.perf_counter()
        self.happened: list[Happening] = []

    def cancel(self) -> None:
        """Stop the reply: it ends in `Cancelled` before its next token or denoising step."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the reply is to be stopped."""
        return self._cancelled.is_set()

    def tell(
        self,
        part: Part,
        done: int,
        total: int | None,
        *,
        key: str | None = None,
        number: int = 0,
        finished: bool = False,
    ) -> None:
        """Say how far a part is; 0 is its beginning."""
        now = Happening(part, key, number, done, total, time.perf_counter() - self._began, finished)
        self.happened.append(now)
        if self._listener is not None:
            self._listener(now)

    def took(self) -> list[Took]:
        """What each part that has finished took, in the order they began."""
        found: dict[tuple[Part, str | None, int], Took] = {}
        begun: dict[tuple[Part, str | None, int], Happening] = {}
        for one in list(self.happened):
            name = one.part, one.key, one.number
            first = begun.setdefault(name, one)
            if one.finished:
                found[name] = Took(*name, one.done, first.at, one.at - first.at)
        return [found[name] for name in begun if name in found]


Watches = Watch | Sequence[Watch] | None


def watches_of(given: Watches, count: int) -> list[Watch]:
    """One watch a row; ValueError where another number was given."""
    found = [Watch() for _ in range(count)] if given is None else [given] if isinstance(given, Watch) else list(given)
    if len(found) != count:
        raise ValueError(f"watch: {len(found)} given for {count} conversations; give one each")
    return found


def check(watches: Sequence[Watch]) -> None:
    """Raise `Cancelled` where nobody waits for any of these replies."""
    if watches and all(watch.cancelled for watch in watches):
        raise Cancelled("the reply was cancelled")
