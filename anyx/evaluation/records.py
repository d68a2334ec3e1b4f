"""What was measured, one JSON line a request, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One request to make: a cell ("input->output", or "plain") of a split, a concept, a seed."""

    split: str
    cell: str
    concept: str
    seed: int


@dataclass(frozen=True)
class Record:
    """A job and what came of it. Files are relative to the run's folder; `ranked` are labels by judge, best first."""

    job: Job
    request: str
    text: str
    keys: list[str]  # the reply's parts, "text" or a kind of media, in order
    valid: bool  # it holds a usable output of the modality that was asked for
    exact: bool  # and no medium that was not
    given: str | None = None
    shown: str | None = None
    ranked: dict[str, list[int]] = field(default_factory=dict)


class Records:
    """Records in `path`, read at the start, appended as they come; a half-written last line is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[Job, Record] = {}
        if path.is_file():
            whole = path.read_bytes()
            kept = whole[: whole.rfind(b"\n") + 1]
            if len(kept) < len(whole):
                path.write_bytes(kept)
            for line in kept.splitlines():
                record = _parsed(json.loads(line))
                self.found[record.job] = record

    def __contains__(self, job: Job) -> bool:
        return job in self.found

    def __iter__(self) -> Iterator[Record]:
        return iter(self.found.values())

    def __len__(self) -> int:
        return len(self.found)

    def add(self, record: Record) -> None:
        """Keep a record, on disk first."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
        self.found[record.job] = record

    def of(self, jobs: list[Job]) -> list[Record]:
        """The records of these jobs that are there, in their order."""
        return [self.found[job] for job in jobs if job in self.found]


def _parsed(line: dict[str, object]) -> Record:
    known = {entry.name for entry in fields(Record)}
    if known != set(line) or not isinstance(line["job"], dict):
        raise ValueError(f"records: keys {sorted(line)} found where {sorted(known)} are expected; use another folder")
    return Record(**{**line, "job": Job(**line["job"])})  # type: ignore[arg-type]
