"""What adapters have the layers of an LLM read in one call, carried beside the call.

`carry` names the context for the calls inside it; a pre-hook on every hooked layer takes it from here, asks `at` for
the part that belongs to the call, and hands it to the layer as a keyword. State on a module would not do: layers that
are recomputed in the backward pass (gradient checkpointing) must see the context of their own forward pass.

Letters: b rows, s positions of the prompt, n positions of a call, r what one position reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from anyx.interfaces import Reading

Values = Mapping[str, Tensor]


class Context:
    """The readings of a batch by adapter."""

    def __init__(self, readings: Mapping[str, Reading]) -> None:
        self.readings = dict(readings)
        lags = [reading.lag for reading in self.readings.values() if reading.lag is not None]
        self.lag: Int[Tensor, "b s"] | None = torch.stack(lags).sum(0) if lags else None

    def at(self, past: int, rows: int, length: int) -> dict[str, Values]:
        """What layers read in a call of `rows` by `length` positions after `past` cached ones.

        Without a cache the prompt and what was said since are read again; with the cache of an earlier prompt that
        this one begins with, the rest of it. Beam search multiplies rows: each row's beams lie side by side.
        """
        found: dict[str, Values] = {}
        for name, reading in self.readings.items():
            values = {**reading.rows, **(reading.after if past else {})}
            for key, x in reading.places.items():
                if past < x.shape[1]:
                    values[key] = lengthened(x, reading.after.get(key), past + length, name)[:, past:]
            found[name] = {key: spread(value, rows, name) for key, value in values.items()}
        return found

    @property
    def rowwise(self) -> list[str]:
        """The adapters that read something of a row as a whole."""
        return [name for name, reading in self.readings.items() if reading.rows]

    def laid(self, lay: Callable[[Tensor], Tensor]) -> Context:
        """The readings of the same positions (b, s, ...) laid out otherwise; of whole rows there are none."""
        assert not self.rowwise, f"{self.rowwise} read whole rows"
        places = {name: reading.places for name, reading in self.readings.items()}
        return Context({name: Reading({}, {key: lay(x) for key, x in own.items()}) for name, own in places.items()})

    def positions(self, mask: Bool[Tensor, "b t"], length: int) -> Int[Tensor, "b n"]:
        """Position ids of the last `length` of the positions seen so far; `mask` is True at real ones."""
        count = (mask.cumsum(1) - 1).clamp(min=0)
        if self.lag is not None:
            lag = lengthened(self.lag, self.lag[:, -1:], mask.shape[1], "positions")
            count = count.to(lag.device) - spread(lag, len(mask), "positions")
        return count[:, -length:]

    def chosen(self, rows: Int[Tensor, " n"]) -> Context:
        """The readings of some rows."""
        context = Context({})
        for name, reading in self.readings.items():
            rest, places, after = ({key: x[rows] for key, x in part.items()} for part in reading[:3])
            context.readings[name] = Reading(rest, places, after, None if reading.lag is None else reading.lag[rows])
        context.lag = None if self.lag is None else self.lag[rows]
        return context

    def alike(self, other: Context, length: int) -> int:
        """How many of the first `length` positions read the same in both, from the first on.

        0 where something differs that all positions read, such as the media of gated cross-attention.
        """
        if self.readings.keys() != other.readings.keys():
            return 0
        for name, mine in self.readings.items():
            theirs = other.readings[name]
            if not _same(mine.rows, theirs.rows) or mine.places.keys() != theirs.places.keys():
                return 0
            for key in mine.places:
                sides = [_first(each.places[key], each.after.get(key), length, name) for each in (mine, theirs)]
                length = agreeing(*sides)
        if self.lag is not None and other.lag is not None:
            length = agreeing(*(_first(lag, lag[:, -1:], length, "positions") for lag in (self.lag, other.lag)))
        return length if (self.lag is None) == (other.lag is None) else 0


def agreeing(one: Shaped[Tensor, "b n *r"], other: Shaped[Tensor, "b n *r"]) -> int:
    """How many positions are equal in all rows, from the first on."""
    if one.shape != other.shape or one.dtype != other.dtype or one.device != other.device:
        return 0
    equal = (one == other).transpose(0, 1).flatten(1).all(1)
    return int(equal.long().cumprod(0).sum())


def _same(one: Values, other: Values) -> bool:
    alike = one.keys() == other.keys()
    return alike and all(x.device == other[key].device and torch.equal(x, other[key]) for key, x in one.items())


def _first(
    places: Shaped[Tensor, "b s *r"], after: Shaped[Tensor, "b 1 *r"] | None, length: int, name: str
) -> Shaped[Tensor, "b n *r"]:
    """The first positions of the prompt and of what was said since."""
    return lengthened(places, after, max(length, places.shape[1]), name)[:, :length]


def lengthened(
    places: Shaped[Tensor, "b s *r"], after: Shaped[Tensor, "b 1 *r"] | None, length: int, name: str
) -> Shaped[Tensor, "b n *r"]:
    """The prompt's values, then for every position past it those of `after`, or zeros."""
    missing = length - places.shape[1]
    if missing < 0:
        raise ValueError(f"{name}: laid out for {places.shape[1]} positions, {length} were given")
    if not missing:
        return places
    more = torch.zeros_like(places[:, :1]) if after is None else after
    return torch.cat([places, more.expand(-1, missing, *more.shape[2:])], 1)


def spread(value: Tensor, rows: int, name: str = "context") -> Tensor:
    """One value a row, for batches that are a multiple of it."""
    if rows % len(value):
        raise ValueError(f"{name}: made for {len(value)} rows, {rows} were given")
    return value if rows == len(value) else value.repeat_interleave(rows // len(value), 0)


CARRIED: ContextVar[Context | None] = ContextVar("anyx_carried", default=None)


@contextmanager
def carry(context: Context | None) -> Iterator[None]:
    """Let the layers of the calls inside read this context; None is no context."""
    token = CARRIED.set(context)
    try:
        yield
    finally:
        CARRIED.reset(token)
