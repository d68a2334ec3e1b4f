"""Samples -> records: pictures are opened, a model answers in batches, and each answer is on disk before the next.

Beside `records.jsonl` stand `rows.jsonl` (what scoring needs of each sample) and `skipped.jsonl` (samples whose picture
is missing or broken, and entries that lack what they should have: they are told, counted, left out of the score, and
tried again when the run goes on). Pictures out of tables are written once each, under their digest, so that a record
names a file in any case.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx.backends import WholeModel
from anyx.benchmarks.aids import marked
from anyx.benchmarks.folders import found
from anyx.benchmarks.samples import Benchmark, Sample
from anyx.durable import replacing
from anyx.evaluation.corpus import Message
from anyx.evaluation.records import Job, Record, Records, answered, append, whole_lines
from anyx.evaluation.routes import Model, seed_of
from anyx.faults import MediaError, fault_of
from anyx.media import MEDIA
from anyx.reply import Reply
from anyx.tools.marks import Marker

log = logging.getLogger("anyx")
MAGIC = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "webp", b"GIF8": "gif"}


class Asked(NamedTuple):
    """A sample on its way: its job, its place in the benchmark, what the model sees, what the record says."""

    job: Job
    place: int
    size: int  # of its group
    sample: Sample
    turns: list[Message]
    inputs: list[Message]


class OneByOne:
    """A whole model of transformers, which answers one conversation a call, behind the call for several."""

    def __init__(self, model: WholeModel) -> None:
        self.model = model

    def generate(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int, seeds: Sequence[int]
    ) -> list[Reply]:
        """One reply a conversation."""
        pairs = zip(conversations, seeds, strict=True)
        return [self.model.chat(turns, max_new_tokens=max_new_tokens, seeds=seed) for turns, seed in pairs]


def read(benchmark: Benchmark, folder: Path, split: str) -> Iterator[Sample]:
    """The samples of a folder, with one for each malformed entry; ValueError where no entry is as it should be."""
    files = found(benchmark, folder, split)
    names, whole, first = ", ".join(file.name for file in files[:3]), 0, ""
    try:
        for sample in benchmark.read(folder, files, split):
            whole += not sample.fault
            first = first or sample.fault
            yield sample
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(
            f"--data: {names} is not of the form expected ({type(error).__name__}: {error}); expected {benchmark.holds}"
        ) from error
    if first and not whole:
        raise ValueError(f"--data: {names} is not of the form expected ({first}); expected {benchmark.holds}")


def chosen(samples: Iterator[Sample], limit: int | None) -> dict[str, tuple[str, int]]:
    """Names of the samples to ask, with their group and its size: all, or of `limit` groups spread evenly.

    ValueError: no samples, or two of one name.
    """
    groups = {}
    for sample in samples:
        if sample.id in groups:
            raise ValueError(f"--data: two samples are called {sample.id!r}; each has a name of its own")
        groups[sample.id] = sample.group or sample.id
    if not groups:
        raise ValueError("--data: the files hold no samples of this benchmark and split")
    sizes = Counter(groups.values())
    names = list(sizes)
    if limit is not None and limit < len(names):
        names = [names[place * len(names) // limit] for place in range(limit)]
    wanted = set(names)
    return {name: (group, sizes[group]) for name, group in groups.items() if group in wanted}


def ask(
    model: Model,
    name: str,
    samples: Iterator[Sample],
    wanted: Mapping[str, tuple[str, int]],
    records: Records,
    out: Path,
    *,
    identity: str,
    batch: int,
    max_new_tokens: int,
    seed: int,
    marker: Marker | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Ask what has no record yet."""
    rows = {line["sample"] for line in whole_lines(out / "rows.jsonl")}
    waiting: list[Asked] = []

    def answer() -> None:
        seeds = [seed_of(one.job) for one in waiting]
        replies = model.generate([one.turns for one in waiting], max_new_tokens=max_new_tokens, seeds=seeds)
        for one, reply, noise in zip(waiting, replies, seeds, strict=True):
            sample = one.sample
            if sample.id not in rows:
                line = {"place": one.place, "group": sample.group or sample.id, "size": one.size}
                line |= {"source": sample.source or sample.group or sample.id, "row": sample.row}
                append(out / "rows.jsonl", {"sample": sample.id, **line})
            said = answered(reply, out, one.job)
            config = {"max_new_tokens": max_new_tokens}
            records.add(Record(one.job, one.inputs, said, noise, config, identity))
            progress(1)
        waiting.clear()

    for place, sample in enumerate(samples):
        if sample.id not in wanted:
            continue
        job = Job(name, sample.route, sample.id, seed)
        if job in records:
            progress(1)
            continue
        if sample.fault:
            log.warning("%s: skipped: %s", sample.id, sample.fault)
            append(out / "skipped.jsonl", {"sample": sample.id, "fault": "malformed", "why": sample.fault})
            progress(1)
            continue
        try:
            turns, inputs = opened(sample.turns, out, name)
            if marker is not None:
                turns, inputs = marked(turns, inputs, marker, out, sample.id, lambda data: stored(data, out, name))
        except MediaError as error:
            log.warning("%s: skipped: %s", sample.id, error)
            append(out / "skipped.jsonl", {"sample": sample.id, "fault": fault_of(error), "why": str(error)})
            progress(1)
            continue
        waiting.append(Asked(job, place, wanted[sample.id][1], sample, turns, inputs))
        if len(waiting) == batch:
            answer()
    if waiting:
        answer()


def opened(turns: Sequence[Message], out: Path, name: str) -> tuple[list[Message], list[Message]]:
    """The conversation with its media read, and with the paths of their files; MediaError for one that is broken."""
    seen: list[Message] = []
    told: list[Message] = []
    for turn in turns:
        parts, paths = [], []
        for part in turn["content"]:
            if part["type"] == "text":
                parts.append(part)
                paths.append(part)
                continue
            source: Any = Path(part["path"]) if "path" in part else part["media"]
            parts.append({"type": part["type"], "media": MEDIA[part.get("kind", part["type"])].read(source)})
            where = str(source.resolve()) if isinstance(source, Path) else stored(source, out, name)
            paths.append({"type": part["type"], "path": where})
        seen.append({**turn, "content": parts})
        told.append({**turn, "content": paths})
    return seen, told


def stored(data: bytes, out: Path, name: str) -> str:
    """Write encoded bytes as a file of their digest, once; its path from the run's folder."""
    ending = next((ending for magic, ending in MAGIC.items() if data.startswith(magic)), "bin")
    place = Path("media", name, f"{hashlib.blake2b(data, digest_size=12).hexdigest()}.{ending}")
    if not (out / place).is_file():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        with replacing(out / place) as part:  # a half file of a stopped run would stay for good
            part.write_bytes(data)
    return place.as_posix()
