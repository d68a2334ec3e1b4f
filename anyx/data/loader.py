"""The loader: workers read, augment, transform and collate whole batches; what cannot be read is skipped and counted.

A missing or corrupt file costs its sample, never the run: the batch is that much smaller, and a report at the end
says how many were skipped and why. A source of which nothing can be read is a mistake, and a ValueError. What a batch
holds depends on its draws alone, not on the number of workers. A draw that comes again is not read again: its sample is
kept, while there is room, unless it holds decoded media.
"""

from __future__ import annotations

import logging
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from anyx.data.memory import Memory
from anyx.data.mixture import Batches, Draw, Planned, State
from anyx.data.sources import UNREADABLE, Feed, Record

BOUND = 1 << 28  # bytes of samples that a process keeps
ENOUGH = 64  # records of a source that all failed: nobody waits for the rest
log = logging.getLogger("anyx")


class Reader(Protocol):
    """What the loader asks of a reader; `read` raises one of `UNREADABLE` for what it cannot read."""

    def read(self, record: Record, feed: Feed, variant: int) -> Any:
        """One record as a sample."""
        ...

    def collate(self, samples: Sequence[Any]) -> Any:
        """Samples as one batch, a NamedTuple with `.to(device)`."""
        ...


class Read(NamedTuple):
    """A batch as a worker hands it over; `value` is None where every draw failed."""

    value: Any
    sources: tuple[int, ...]  # of each draw
    failures: tuple[tuple[int, str, str], ...]  # source, record, reason
    state: State


@dataclass
class Report:
    """How much was read and skipped."""

    names: Sequence[str]
    tried: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    reasons: dict[tuple[int, str], str] = field(default_factory=dict)

    def add(self, sources: Sequence[int], failures: Sequence[tuple[int, str, str]]) -> None:
        """Count a batch."""
        self.tried.update(sources)
        self.failed.update(source for source, _, _ in failures)
        for source, record, reason in failures:
            if (source, record) not in self.reasons:
                self.reasons[source, record] = reason
                log.warning("data.%s: skipped %s: %s", self.names[source], record, reason)

    def check(self, sizes: Sequence[int] | None = None) -> None:
        """Raise for a source of which nothing could be read (with `sizes`: once enough of it was tried)."""
        for source, failed in self.failed.items():
            enough = 1 if sizes is None else min(ENOUGH, sizes[source])
            if failed == self.tried[source] >= enough:
                shown = [reason for (number, _), reason in self.reasons.items() if number == source][:3]
                raise ValueError(f"data.{self.names[source]}: none of {failed} records can be read: {'; '.join(shown)}")

    def __str__(self) -> str:
        lines = [
            f"data.{name}: {self.failed[i]} of {self.tried[i]} samples skipped "
            f"({sum(source == i for source, _ in self.reasons)} records)"
            for i, name in enumerate(self.names)
            if self.failed[i]
        ]
        return "\n".join(lines) or f"all of {sum(self.tried.values())} samples were read"


class Reading(Dataset[Read]):
    """Plans -> batches, in whatever process asks."""

    def __init__(self, feeds: Sequence[Feed], reader: Reader) -> None:
        self.feeds, self.reader = feeds, reader
        self.kept: Memory[Any] = Memory(BOUND)

    def __getitem__(self, plan: Planned) -> Read:
        """Read the draws of a plan."""
        samples, failures = [], []
        for draw in plan.draws:
            name = str(draw.record)
            try:
                if draw in self.kept:
                    samples.append(self.kept[draw])
                    continue
                record = self.feeds[draw.source].source[draw.record]
                name = str(record.get("id", name))
                samples.append(self.read(draw, record))
            except UNREADABLE as error:
                failures.append((draw.source, name, f"{type(error).__name__}: {error}"))
        value = self.reader.collate(samples) if samples else None
        return Read(value, tuple(draw.source for draw in plan.draws), tuple(failures), plan.state)

    def read(self, draw: Draw, record: Record) -> Any:
        """The sample of a draw, kept where it may come again: not where every copy is another."""
        feed = self.feeds[draw.source]
        sample = self.reader.read(record, feed, draw.variant)
        if feed.variants:
            self.kept.keep(draw, sample)
        return sample


class Loader:
    """Iterates over `(batch, state after it)`. `workers` 0 reads in this process."""

    def __init__(self, feeds: Sequence[Feed], reader: Reader, batches: Batches, *, workers: int = 0) -> None:
        self.feeds, self.reader, self.batches, self.workers = list(feeds), reader, batches, workers
        self.report = Report([feed.name for feed in self.feeds])

    def __iter__(self) -> Iterator[tuple[Any, State]]:
        sizes = [len(feed.source) for feed in self.feeds]
        reading = DataLoader(
            Reading(self.feeds, self.reader),
            sampler=self.batches,
            batch_size=None,
            num_workers=self.workers,
            collate_fn=_same,  # type: ignore[arg-type]
            generator=torch.Generator(),  # its own: the run's random state stays the run's
            worker_init_fn=_begin,
            prefetch_factor=4 if self.workers else None,
        )
        for read in reading:
            self.report.add(read.sources, read.failures)
            self.report.check(sizes)
            if read.value is not None:
                yield read.value, read.state


def _same(value: Read) -> Read:
    return value


def _begin(worker: int) -> None:
    """Use one thread, and leave to the run what asks it to end: a terminal and Slurm tell all its processes at once."""
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGUSR1"):
        if name in signal.Signals.__members__:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL) and None)  # once
