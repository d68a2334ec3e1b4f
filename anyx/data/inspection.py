"""A look at data before a run: every record is read and every medium decoded, and what is bad is counted.

It reads as the loader does, in workers and within the same limits, so what is skipped here is what a run would skip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anyx.data.loader import Loader
from anyx.data.mixture import Draw, Planned
from anyx.data.skipped import Report
from anyx.data.sources import Feed, Record
from anyx.processor import source_of
from anyx.prompt import parts_of

GROUP = 16  # records that a worker reads at a time


@dataclass
class Opener:
    """A reader that decodes the media of a record and keeps nothing. `kinds` are the classes of media by key."""

    kinds: Mapping[str, type[Any]]

    def read(self, record: Record, feed: Feed, variant: int) -> None:
        """Decode every medium whose kind is known; one that a user's turn lacks is an error."""
        for key, source in sources_in(record):
            for one in source if isinstance(source, list) else [source]:
                if key in self.kinds:
                    self.kinds[key].read(one)

    def collate(self, samples: Sequence[None]) -> int:
        """How many were read."""
        return len(samples)


def sources_in(record: Record) -> Iterator[tuple[str, Any]]:
    """Keys and sources of a record's media; those of an assistant may be captions alone."""
    yield from dict(record.get("media", {})).items()
    for message in record.get("messages", ()):
        for part in parts_of(message):
            if part["type"] != "text":
                source = source_of(part)
                if source is None and message["role"] != "assistant":
                    raise ValueError(f"a part of type {part['type']!r} names no file")
                if source is not None:
                    yield part["type"], source


@dataclass(frozen=True)
class Whole:
    """Every record of every feed once, in order."""

    sizes: Sequence[int]

    def __iter__(self) -> Iterator[Planned]:
        for source, size in enumerate(self.sizes):
            for begin in range(0, size, GROUP):
                yield Planned(tuple(Draw(source, i, 0) for i in range(begin, min(begin + GROUP, size))), {})


def inspect(
    feeds: Sequence[Feed], kinds: Mapping[str, type[Any]], report: Report, *, workers: int = 0, limit: int | None = None
) -> Iterator[int]:
    """Read all feeds (the first `limit` records of each) into the report; yields how many records it has now read."""
    plain = [replace(feed, augment=None, variants=0) for feed in feeds]  # of a record that comes once nothing is kept
    sizes = [len(feed.source) if limit is None else min(limit, len(feed.source)) for feed in plain]
    for read in Loader(plain, Opener(kinds), Whole(sizes), workers=workers).reads():
        report.add(read.sources, read.failures)
        yield len(read.sources)
