"""What a model was asked and what it answered: one JSON line a request. Scores are made of these, never of a model.

Media stand beside the lines as files that lose nothing (PNG, animated PNG) but what lies below 16 bits of sound (FLAC),
and are judged from there, so that what is judged today can be judged again, by other judges, tomorrow. A stopped run
goes on where it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from anyx.evaluation.corpus import Message
from anyx.interfaces import Media
from anyx.media import Audio, Image, Series, Video
from anyx.reply import Reply

FORMS: Mapping[type[Media], str] = {Image: "png", Audio: "flac", Video: "apng", Series: "npz"}
KINDS: Mapping[str, type[Media]] = {f".{suffix}": kind for kind, suffix in FORMS.items()}
Part = Mapping[str, str]  # {"type": "text", "text": words} or {"type": key, "path": a file under the run's folder}


@dataclass(frozen=True)
class Job:
    """One request to make: a route ("input->output", or "plain") of a split, one sample of it, a seed."""

    split: str
    route: str
    sample: str
    seed: int

    @property
    def source(self) -> str:
        """What goes in, of a route."""
        return self.route.partition("->")[0]

    @property
    def target(self) -> str:
        """What should come out, of a route; of plain chat words."""
        return self.route.rpartition("->")[2] if "->" in self.route else "text"


@dataclass(frozen=True)
class Record:
    """A job and what came of it: the conversation, the reply's parts as they were said, and what it depends on.

    `noise` is the seed that decoders began from, `config` how replies were made, `model` the digest of its weights.
    A field that is added later needs a default, which old records then have.
    """

    job: Job
    inputs: list[Message]
    outputs: list[Part]
    noise: int
    config: dict[str, Any]
    model: str

    @property
    def request(self) -> str:
        """The words of the last turn."""
        return words_of(self.inputs[-1]) if self.inputs else ""

    @property
    def text(self) -> str:
        """The words of the reply, media left out."""
        return "".join(part["text"] for part in self.outputs if "text" in part)

    @property
    def keys(self) -> list[str]:
        """What the reply is made of, in order."""
        return [part["type"] for part in self.outputs]

    @property
    def given(self) -> str | None:
        """The file of the last medium that went in."""
        content = [part for turn in self.inputs if not isinstance(turn["content"], str) for part in turn["content"]]
        return next((part["path"] for part in reversed(content) if "path" in part), None)

    def shown(self, key: str) -> str | None:
        """The file of the first medium of a key that came out."""
        return next((part["path"] for part in self.outputs if part["type"] == key and "path" in part), None)


class Records:
    """Records in `path`, read at the start, appended as they come; a half-written last line is cut off."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[Job, Record] = {}
        for line in whole_lines(path):
            record = _parsed(line)
            self.found[record.job] = record

    def __contains__(self, job: Job) -> bool:
        return job in self.found

    def __getitem__(self, job: Job) -> Record:
        return self.found[job]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.found.values())

    def __len__(self) -> int:
        return len(self.found)

    def add(self, record: Record) -> None:
        """Keep a record, on disk first."""
        append(self.path, asdict(record))
        self.found[record.job] = record

    def of(self, jobs: Sequence[Job]) -> list[Record]:
        """The records of these jobs that are there, in their order."""
        return [self.found[job] for job in jobs if job in self.found]


def by_route(jobs: Iterable[Job]) -> dict[tuple[str, str], list[Job]]:
    """The jobs of every split and route, in whatever order they come."""
    found: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.split, job.route), []).append(job)
    return found


def words_of(turn: Message) -> str:
    """The words of a message."""
    content = turn["content"]
    return content if isinstance(content, str) else " ".join(part["text"] for part in content if part["type"] == "text")


def kept(turns: Sequence[Message], folder: Path, job: Job) -> list[Message]:
    """The conversation with every medium written to a file, whose path stands where it stood."""
    found: list[Message] = []
    for number, turn in enumerate(turns):
        if isinstance(turn["content"], str):
            found.append(dict(turn))
            continue
        parts = [
            {"type": part["type"], "path": write(part["media"], folder, job, f"in{number}.{place}")}
            if "media" in part
            else dict(part)
            for place, part in enumerate(turn["content"])
        ]
        found.append({**turn, "content": parts})
    return found


def answered(reply: Reply, folder: Path, job: Job) -> list[Part]:
    """The reply's parts, media written to files."""
    return [
        {"type": key, "text": part}
        if isinstance(part, str)
        else {"type": key, "path": write(part, folder, job, f"out{place}")}
        for place, (part, key) in enumerate(zip(reply.parts, reply.keys, strict=True))
    ]


def write(media: Media, folder: Path, job: Job, name: str) -> str:
    """Write a medium beside the records; its path from there."""
    place = Path("media", job.split, job.route.replace("->", "-to-"))
    place /= f"{job.sample}-{job.seed}-{name}.{FORMS.get(type(media), media.suffix)}"
    media.save(folder / place)
    return place.as_posix()


def read(path: Path) -> Media:
    """A medium that `write` wrote."""
    if path.suffix not in KINDS:
        raise ValueError(f"{path}: media of records are read from {', '.join(KINDS)}; judge others by their own class")
    return KINDS[path.suffix].read(path)


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file that may not be there; what a stop left of a last line is cut off."""
    if not path.is_file():
        return []
    held = path.read_bytes()
    whole = held[: held.rfind(b"\n") + 1]
    if len(whole) < len(held):
        os.truncate(path, len(whole))
    return list(json_lines(path, whole.splitlines()))


def json_lines(path: Path, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The JSON of each line, empty ones left out; ValueError names one that is none."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}, is no JSON: {error}") from error


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a JSON line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _parsed(line: Mapping[str, Any]) -> Record:
    """A line of this version, an older or a newer one: further keys stay on disk alone, missing ones have defaults."""
    job = line.get("job")
    if isinstance(job, dict) and _needed(Record) <= set(line) and _needed(Job) <= set(job) <= _known(Job):
        return Record(**{**{key: line[key] for key in _known(Record) & set(line)}, "job": Job(**job)})
    raise ValueError(
        f"records: keys {sorted(line)} found, of job {sorted(job) if isinstance(job, dict) else job!r}, where "
        f"{sorted(_needed(Record))} are expected, and of job no others than {sorted(_known(Job))}; use another folder"
    )


def _known(kind: type) -> set[str]:
    return {entry.name for entry in fields(kind)}


def _needed(kind: type) -> set[str]:
    return {entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING}
