"""Filling a cache: what is computed together, read by workers, and written as it comes.

Groups of jobs depend on the data alone, never on what the cache has already, so that what is computed again after a
crash is the same to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from torch import Tensor
from torch.utils.data import Dataset

from anyx.data.cache import FeatureCache
from anyx.data.features import Wanted, augmented
from anyx.data.sources import UNREADABLE, Feed
from anyx.frozen import Numbers
from anyx.interfaces import Media

BATCH = 16  # jobs that are computed together
SHARD, BYTES, SECONDS = 512, 1 << 26, 60.0  # a shard has so many values, or so many bytes, or took so long
Job = TypeVar("Job")
Medium = tuple[Feed, Wanted]


class Group(NamedTuple, Generic[Job]):
    """Jobs that are computed together, by digest, and which of them the cache lacks."""

    jobs: Mapping[str, Job]
    missing: frozenset[str]


class Groups(Generic[Job]):
    """Jobs in the order they come, each digest once, in groups of `BATCH`: what is computed together."""

    def __init__(self, cache: FeatureCache) -> None:
        self.cache = cache
        self.seen: set[bytes] = set()
        self.group: dict[str, Job] = {}
        self.number = 0
        self.found: list[tuple[int, Group[Job]]] = []

    def add(self, name: str, job: Job) -> None:
        """Put a job into the group that is being filled."""
        if (short := name.encode()) in self.seen:
            return
        self.seen.add(short)
        self.group[name] = job
        if len(self.group) == BATCH:
            self._close()

    def _close(self) -> None:
        missing = frozenset(self.cache.missing(self.group))
        if missing:
            self.found.append((self.number, Group(self.group, missing)))
        self.group, self.number = {}, self.number + 1

    def wanted(self, share: tuple[int, int]) -> list[Group[Job]]:
        """One rank's of the groups in which something is missing."""
        if self.group:
            self._close()
        rank, world = share
        return [group for number, group in self.found if number % world == rank]


class Shelf:
    """Holds what was computed, and writes a shard whenever there is enough of it or it took long enough."""

    def __init__(self, cache: FeatureCache, maker: str, kind: str, numbers: Numbers) -> None:
        self.cache, self.maker, self.kind, self.numbers = cache, maker, kind, numbers
        self.held: dict[str, Mapping[str, Tensor]] = {}
        self.bytes, self.began = 0, time.monotonic()

    def add(self, values: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take values over, rounded as they are to be kept."""
        for name, value in values.items():
            self.held[name] = {n: self.numbers.rounded(x) for n, x in value.items()}
            self.bytes += sum(x.nbytes for x in self.held[name].values())
        if len(self.held) >= SHARD or self.bytes >= BYTES or time.monotonic() - self.began > SECONDS:
            self.write()

    def write(self) -> None:
        """Write what is held."""
        self.cache.put(self.held, maker=self.maker, kind=self.kind)
        self.held, self.bytes, self.began = {}, 0, time.monotonic()


@dataclass
class Reading(Dataset[list[tuple[str, Media]]]):
    """Reads and augments the media of a group in workers, those that can be read; none if none of them is missing."""

    kind: type[Any]
    groups: Sequence[Group[Medium]]

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> list[tuple[str, Media]]:
        """Digests and media of one group."""
        group = self.groups[index]
        found = {name: self.read(*group.jobs[name]) for name in group.jobs if name in group.missing}
        if all(media is None for media in found.values()):
            return []
        found |= {name: self.read(*job) for name, job in group.jobs.items() if name not in found}
        read = [(name, found[name]) for name in group.jobs]
        return [(name, media) for name, media in read if media is not None]

    def read(self, feed: Feed, item: Wanted) -> Media | None:
        """The medium of one job, augmented; None for what cannot be read."""
        try:
            media: Media = self.kind.read(item.source)
            return augmented(feed, item.key, media, item.variant) if feed.augment else media
        except UNREADABLE:
            return None
