"""The loader: workers read, augment, transform and collate whole batches; what cannot be read is skipped and counted.

A missing or corrupt file costs its sample, never the run: the batch is that much smaller, and a report (`skipped.py`)
says how many were skipped and why. A source of which nothing can be read is a mistake, and a ValueError. What a batch
holds depends on its draws alone, not on the number of workers. A draw that comes again is not read again: its sample is
kept, while there is room, unless it holds decoded media.

Of several processes each reads its share of every batch that is planned, so that the state is the same in all of them
and means the same to any number. A batch of which one process could read nothing is None there.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from anyx.data.memory import Memory
from anyx.data.mixture import Draw, Planned, State
from anyx.data.skipped import READ, Failure, Report
from anyx.data.sources import UNREADABLE, Feed, Record
from anyx.faults import fault_of, within
from anyx.ranks import ALONE, Ranks

BOUND = 1 << 28  # bytes of samples that a process keeps
DIED = "DataLoader worker"  # how torch begins to say that one has


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
    failures: tuple[Failure, ...]
    state: State


class Reading(Dataset[Read]):
    """Plans -> batches, in whatever process asks."""

    def __init__(self, feeds: Sequence[Feed], reader: Reader, rank: int = 0, world: int = 1) -> None:
        self.feeds, self.reader = feeds, reader
        self.rank, self.world = rank, world
        self.kept: Memory[Any] = Memory(BOUND)

    def __getitem__(self, plan: Planned) -> Read:
        """Read this process's draws of a plan: every so many, so that all have as long ones."""
        samples, failures = [], []
        draws = plan.draws[self.rank :: self.world]
        for draw in draws:
            name = str(draw.record)
            try:
                if draw in self.kept:
                    samples.append(self.kept[draw])
                    continue
                with within(self.feeds[draw.source].limits):
                    record = self.feeds[draw.source].source[draw.record]
                    name = str(record.get("id", name))
                    samples.append(self.read(draw, record))
            except UNREADABLE as error:
                told = f"{type(error).__name__}: {error}"
                failures.append(Failure(draw.source, name, fault_of(error), told))
        value = self.reader.collate(samples) if samples else None
        return Read(value, tuple(draw.source for draw in draws), tuple(failures), plan.state)

    def read(self, draw: Draw, record: Record) -> Any:
        """The sample of a draw, kept where it may come again: not where every copy is another."""
        feed = self.feeds[draw.source]
        sample = self.reader.read(record, feed, draw.variant)
        if feed.variants:
            self.kept.keep(draw, sample)
        return sample


class Loader:
    """Iterates over `(batch, state after it)`, skipped samples counted in it. `workers` 0 reads in this process."""

    def __init__(
        self,
        feeds: Sequence[Feed],
        reader: Reader,
        batches: Iterable[Planned],
        *,
        workers: int = 0,
        report: Report | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.feeds, self.reader, self.batches, self.workers = list(feeds), reader, batches, workers
        self.report = report or Report([feed.name for feed in self.feeds])
        self.ranks = ranks

    def __iter__(self) -> Iterator[tuple[Any, State]]:
        sizes = [len(feed.source) for feed in self.feeds]
        for read in self.reads():
            self.report.add(read.sources, read.failures)
            self.report.check(sizes)
            if self.ranks.any([read.value is not None])[0]:
                yield read.value, read.state | {READ: self.report.state_dict()}

    def reads(self) -> Iterator[Read]:
        """Batches as workers hand them over; `ChildProcessError` where one of them died."""
        reading = iter(
            DataLoader(
                Reading(self.feeds, self.reader, self.ranks.rank, self.ranks.world),
                sampler=self.batches,  # plans, not indices
                batch_size=None,
                num_workers=self.workers,
                collate_fn=_same,  # type: ignore[arg-type]
                generator=torch.Generator(),  # its own: the run's random state stays the run's
                worker_init_fn=_begin,
                prefetch_factor=4 if self.workers else None,
            )
        )
        while True:
            try:
                read = next(reading)
            except StopIteration:
                return
            except RuntimeError as error:
                if not str(error).startswith(DIED):
                    raise
                raise ChildProcessError(
                    f"one of {self.workers} data workers died ({error}); most often memory has run out: "
                    "give the stage fewer workers, or its sources lower limits"
                ) from error
            yield read


def _same(value: Read) -> Read:
    return value


def _begin(worker: int) -> None:
    """Use one thread, and leave to the run what asks it to end: a terminal and Slurm tell all its processes at once."""
    torch.set_num_threads(1)
    for name in ("SIGINT", "SIGUSR1"):
        if name in signal.Signals.__members__:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.signal(number, signal.SIG_DFL) and None)  # once
