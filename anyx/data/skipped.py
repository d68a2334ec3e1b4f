"""What could not be read: counted by source and fault, told once each, written down, and when it is too much.

The first of each fault are logged, and all records, up to a bound, are lines of a file that a run leaves beside its
weights. A run that is losing its data is stopped, with a ValueError that says how much of what and why.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

RECENT = 1024  # draws: of a disk that goes away after a million good ones, the share of all would tell nothing
SIGMA = 3.0  # standard errors by which a share must be above the one that is borne, lest chance end a run
ENOUGH = 64  # draws: a share of fewer says nothing, and of a source's first that all failed nobody waits for the rest
LOGGED = 20  # of each source and fault
KEPT = 10_000  # records that are remembered and written down
READ = "read"  # under which the state of a run holds what was counted
log = logging.getLogger("anyx")


class Failure(NamedTuple):
    """A draw that failed: its source's number, the record, one of `faults.FAULTS`, what was said."""

    source: int
    record: str
    fault: str
    reason: str


class BadDataError(ValueError):
    """Data that a run should not go on with; what it has learnt so far is worth keeping."""


@dataclass
class Report:
    """How much was read and skipped.

    With `strict` the first failure is raised; `bad` is the share of failed draws that is borne, among all and among the
    last thousand. `file` receives a JSON
    line for each record that failed, `kept` at most; what it holds already is of the run that is resumed. `stage` is
    named in errors.
    """

    names: Sequence[str]
    strict: bool = False
    bad: float = 1.0
    file: Path | None = None
    stage: str = ""
    kept: int = KEPT
    tried: Counter[int] = field(default_factory=Counter)
    failed: Counter[int] = field(default_factory=Counter)
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))  # of each draw, whether it failed
    faults: Counter[tuple[int, str]] = field(default_factory=Counter)
    logged: Counter[tuple[int, str]] = field(default_factory=Counter)
    reasons: dict[tuple[int, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = {name: number for number, name in enumerate(self.names)}
        for line in self.file.read_text().splitlines() if self.file and self.file.is_file() else ():
            try:
                said = json.loads(line)
                self.reasons[numbers[said["source"]], said["record"]] = said["reason"]
            except (ValueError, LookupError, TypeError):
                continue  # a line that a killed run left half written, or of a source that has gone

    def add(self, sources: Sequence[int], failures: Sequence[Failure]) -> None:
        """Count a batch; `BadDataError` of the first failure where nothing may fail."""
        self.tried.update(sources)
        self.recent.extend([0] * (len(sources) - len(failures)) + [1] * len(failures))
        for failure in failures:
            self.failed[failure.source] += 1
            self.faults[failure.source, failure.fault] += 1
            if (failure.source, failure.record) not in self.reasons and len(self.reasons) < self.kept:
                self.reasons[failure.source, failure.record] = failure.reason
                self.note(failure)
            if self.strict:
                raise BadDataError(f"{self.told(failure)} (strict)")

    def state_dict(self) -> dict[str, Any]:
        """What has been counted, by the names of sources."""
        faults = [(self.names[number], fault, count) for (number, fault), count in self.faults.items()]
        counts = {what: [(self.names[n], c) for n, c in found.items()] for what, found in self._counts()}
        return {**counts, "faults": faults, "recent": list(self.recent)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from there; sources that have gone are left out."""
        numbers = {name: number for number, name in enumerate(self.names)}
        for what, found in self._counts():
            found.update({numbers[name]: count for name, count in state[what] if name in numbers})
        self.faults.update({(numbers[name], fault): count for name, fault, count in state["faults"] if name in numbers})
        self.recent.extend(state["recent"])

    def _counts(self) -> list[tuple[str, Counter[int]]]:
        return [("tried", self.tried), ("failed", self.failed)]

    def join(self, others: Sequence[Report]) -> None:
        """Count what other processes read and skipped."""
        for other in others:
            self.tried += other.tried
            self.failed += other.failed
            self.faults += other.faults
            self.reasons |= other.reasons

    def told(self, failure: Failure) -> str:
        """One failure in a line."""
        return f"data.{self.names[failure.source]}: {failure.record} is {failure.fault}: {failure.reason}"

    def note(self, failure: Failure) -> None:
        """Log a record that failed, if it is one of the first, and write it down."""
        kind = (failure.source, failure.fault)
        self.logged[kind] += 1
        if self.logged[kind] <= LOGGED:
            more = "; further ones are counted only" if self.logged[kind] == LOGGED else ""
            log.warning("skipped: %s%s", self.told(failure), more)
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            line = {**failure._asdict(), "source": self.names[failure.source]}
            with self.file.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def check(self, sizes: Sequence[int] | None = None) -> None:
        """Raise for a source of which nothing could be read (with `sizes`: once enough of it was tried), or all of
        which too much could not.
        """
        for source, failed in self.failed.items():
            met = sum(number == source for number, _ in self.reasons)  # records: a draw may come twice
            if failed == self.tried[source] and (sizes is None or met >= sizes[source] or failed >= ENOUGH):
                raise BadDataError(
                    f"data.{self.names[source]}: none of {failed} records can be read: {self.examples(source)}"
                )
        for tried, failed in ((self.tried.total(), self.failed.total()), (len(self.recent), sum(self.recent))):
            slack = SIGMA * math.sqrt(max(0.0, tried * self.bad * (1 - self.bad)))
            if tried >= ENOUGH and failed > self.bad * tried + slack:
                counts = "; ".join(self.counts(source) for source, _ in self.failed.most_common(3))
                raise BadDataError(
                    f"{failed} of the last {tried} samples cannot be read, which is more than the share "
                    f"stages.{self.stage}.bad={self.bad:g}: {counts}; e.g. "
                    f"{self.examples(self.failed.most_common(1)[0][0])}"
                )

    def examples(self, source: int) -> str:
        """The first reasons of a source."""
        return "; ".join([reason for (number, _), reason in self.reasons.items() if number == source][:3])

    def counts(self, source: int) -> str:
        """How many draws of a source failed, and of what."""
        faults = Counter({fault: count for (number, fault), count in self.faults.items() if number == source})
        told = ", ".join(f"{count} {fault}" for fault, count in faults.most_common())
        records = sum(number == source for number, _ in self.reasons)
        return (
            f"data.{self.names[source]}: {self.failed[source]} of {self.tried[source]} samples skipped "
            f"({records} records): {told}"
        )

    def __str__(self) -> str:
        lines = [self.counts(source) for source in range(len(self.names)) if self.failed[source]]
        return "\n".join(lines) or f"all of {self.tried.total()} samples were read"
