"""Weighted mixtures: an endless stream of draws that the seed decides, with a state that resumes it exactly.

Each source is walked in seeded permutations, one an epoch, so nothing repeats before everything was seen; which
source is next is decided by the seed and the position alone. The state is the position and one cursor a source.
`Batches` groups the draws, optionally by length within windows (pads cost time) or up to a budget of positions, and
hands out with each batch the state *after* it: a batch that a worker fetched ahead but that was never trained on is
drawn again.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

State = dict[str, Any]
SEEN = 256  # batches that an epoch's number of batches is estimated from


class Draw(NamedTuple):
    """Record `record` of source `source`; `variant` says which augmented copy (a seed where they are endless)."""

    source: int
    record: int
    variant: int


class Planned(NamedTuple):
    """The draws of a batch and the state to resume from after it."""

    draws: tuple[Draw, ...]
    state: State


@dataclass
class Bin:
    """A batch that is being filled: how long its first and longest draw is, its draws, their lengths together."""

    longest: int
    draws: list[Draw]
    total: int

    def take(self, draw: Draw, length: int, tokens: int, size: int, *, padded: bool) -> bool:
        """Take a draw in, if there is room and its record is not here yet."""
        total = self.longest * (len(self.draws) + 1) if padded else self.total + length
        if total > tokens or len(self.draws) >= size or any(draw[:2] == other[:2] for other in self.draws):
            return False
        self.draws.append(draw)
        self.total += length
        return True


class Mixture:
    """Draws from several sources in proportion to their weights."""

    def __init__(
        self, sources: Sequence[Sized], weights: Sequence[float], *, seed: int, variants: Sequence[int] | None = None
    ) -> None:
        if len(sources) != len(weights) or not sources:
            raise ValueError(f"{len(sources)} sources but {len(weights)} weights; each source has one")
        if min(weights) < 0 or not sum(weights):
            raise ValueError(f"weights are >= 0 and not all 0, but {list(weights)} were given")
        self.sizes = [len(source) for source in sources]
        self.bounds = list(itertools.accumulate(weight / sum(weights) for weight in weights))
        self.seed, self.variants = seed, list(variants or [1] * len(sources))
        self.position, self.cursors = 0, [0] * len(sources)

    def draw(self) -> Draw:
        """The next draw."""
        chance = random.Random(f"{self.seed}/{self.position}")
        source = min(bisect.bisect_right(self.bounds, chance.random()), len(self.sizes) - 1)
        epoch, place = divmod(self.cursors[source], self.sizes[source])
        order = permutation(self.sizes[source], f"{self.seed}/{source}/{epoch}")
        variant = chance.randrange(self.variants[source] or 2**62)
        self.position += 1
        self.cursors[source] += 1
        return Draw(source, int(order[place]), variant)

    def state_dict(self) -> State:
        """Position and cursors."""
        return {"position": self.position, "cursors": list(self.cursors)}

    def load_state_dict(self, state: State) -> None:
        """Go on from a state of a mixture of as many sources."""
        if len(state["cursors"]) != len(self.sizes):
            raise ValueError(f"the state is of {len(state['cursors'])} sources, this mixture has {len(self.sizes)}")
        self.position, self.cursors = int(state["position"]), list(state["cursors"])


class Batches:
    """Endless batches of a mixture. With `length`, draws of like length share a batch, within windows of batches.

    With `tokens` a batch is filled up to so many positions, pads included if it is `padded`, and to `size` rows at
    most; it holds no record twice, and only a draw that is longer by itself goes beyond.
    """

    def __init__(
        self,
        mixture: Mixture,
        size: int,
        *,
        length: Callable[[Draw], int] | None = None,
        window: int = 16,
        tokens: int | None = None,
        padded: bool = True,
    ) -> None:
        if size < 1:
            raise ValueError(f"batch_size is >= 1, but {size} was given")
        if tokens is not None and (tokens < 1 or length is None):
            raise ValueError(f"tokens: {tokens} given; a budget is >= 1, and needs to know how long draws are")
        self.mixture, self.size, self.length = mixture, size, length
        self.tokens, self.padded = tokens, padded
        self.window = window if length else 1
        self.taken = 0  # batches of the current window that are already behind us

    def __iter__(self) -> Iterator[Planned]:
        while True:
            start = self.mixture.state_dict()
            batches = self.plan()
            for taken in range(self.taken, len(batches)):
                last = taken + 1 == len(batches)
                state = self.mixture.state_dict() if last else start
                yield Planned(batches[taken], {"mixture": state, "taken": 0 if last else taken + 1})
            self.taken = 0

    def plan(self) -> list[tuple[Draw, ...]]:
        """The batches of the next window."""
        chance = random.Random(f"{self.mixture.seed}/window/{self.mixture.position}")
        if self.tokens is not None:
            batches = self.within(self.tokens)
        else:
            draws = [self.mixture.draw() for _ in range(self.size * self.window)]
            if self.length:
                draws.sort(key=self.length)
            batches = [tuple(draws[i : i + self.size]) for i in range(0, len(draws), self.size)]
        if self.length:
            chance.shuffle(batches)
        return batches

    def within(self, tokens: int) -> list[tuple[Draw, ...]]:
        """A window within the budget."""
        assert self.length is not None
        drawn: list[tuple[int, Draw]] = []
        room = tokens * self.window
        while len(drawn) < self.size * self.window and room > 0:
            drawn.append((max(1, self.length(draw := self.mixture.draw())), draw))
            room -= drawn[-1][0]
        return filled(drawn, tokens, self.size, padded=self.padded)

    def count(self, draws: int) -> int:
        """About how many batches hold the next so many draws: planned, and past `SEEN` batches in proportion."""
        start, planned, seen = self.mixture.state_dict(), 0, 0
        while seen < draws and planned < SEEN:
            batches = self.plan()
            planned, seen = planned + len(batches), seen + sum(map(len, batches))
        self.mixture.load_state_dict(start)
        return max(1, round(planned * draws / seen))

    def load_state_dict(self, state: State) -> None:
        """Go on after the batch that carried this state."""
        self.mixture.load_state_dict(state["mixture"])
        self.taken = int(state["taken"])


def filled(drawn: Sequence[tuple[int, Draw]], tokens: int, size: int, *, padded: bool) -> list[tuple[Draw, ...]]:
    """Draws with their lengths as batches within a budget: the longest first, each into the first that has room."""
    bins: list[Bin] = []
    for length, draw in sorted(drawn, key=lambda item: -item[0]):
        if not any(held.take(draw, length, tokens, size, padded=padded) for held in bins):
            bins.append(Bin(length, [draw], length))
    return [tuple(held.draws) for held in bins]


@lru_cache(maxsize=32)
def permutation(size: int, seed: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A seeded order of `size` records."""
    return np.random.default_rng(list(seed.encode())).permutation(size)
