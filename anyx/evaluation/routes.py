"""Asking a model: jobs -> conversations -> replies -> records.

A route is "input->output". A cycle has one leg more ("text->image->text"): the model is shown what it made itself on
the first leg, and asked for the last. Jobs run in batches of one route.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from anyx.evaluation.corpus import Corpus, Message
from anyx.evaluation.records import Job, Record, Records, answered, by_route, kept, read
from anyx.reply import Reply

PLAIN = "plain"


class Model(Protocol):
    """What is asked of a model: replies to conversations."""

    def generate(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int, seeds: Sequence[int]
    ) -> list[Reply]:
        """One reply a conversation."""
        ...


def cells(keys: Sequence[str]) -> list[str]:
    """All routes from every key to every key."""
    return [f"{source}->{target}" for source in keys for target in keys]


def cycles(keys: Sequence[str]) -> list[str]:
    """All routes on which a model meets what it made: the second leg takes up the medium of the first."""
    return [f"{source}->{made}->{target}" for source in keys for made in keys if made != "text" for target in keys]


def plan(corpus: Corpus, *, limit: int | None, seed: int, cycles: Sequence[str] = ()) -> list[Job]:
    """Every job of a run: the splits, what is reported apart, the cycles, plain chat."""
    wanted: Mapping[str, Sequence[str]] = {split: cells(corpus.keys) for split in corpus.splits} | dict(corpus.apart)
    again = {split: cycles for split in corpus.splits}
    jobs = [
        Job(split, route, sample, seed)
        for routes in (wanted, again)
        for split, names in routes.items()
        for route in names
        for sample in corpus.chosen(split, limit)
    ]
    return jobs + [Job(PLAIN, PLAIN, str(index), seed) for index, _ in enumerate(corpus.plain())]


def first_leg(job: Job) -> Job | None:
    """Of a cycle, the job whose output goes in; None of other jobs."""
    *legs, _ = job.route.split("->")
    return Job(job.split, "->".join(legs), job.sample, job.seed) if len(legs) > 1 else None


def seed_of(job: Job) -> int:
    """The noise a job starts from; jobs are told as the first runs told them, so that their media come again."""
    told = f"Job(split={job.split!r}, cell={job.route!r}, concept={job.sample!r}, seed={job.seed!r})"
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=6).digest(), "little")


def run(
    model: Model,
    corpus: Corpus,
    jobs: Sequence[Job],
    records: Records,
    folder: Path,
    *,
    identity: str,
    batch: int,
    max_new_tokens: int,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Do the jobs that have no record yet; `identity` is the model's, for the records."""
    progress(sum(job in records for job in jobs))
    parts = [
        members[start : start + batch] for members in by_route(jobs).values() for start in range(0, len(members), batch)
    ]
    for part in parts:  # the same ones wherever a run was stopped: what is said may hang on what is asked beside it
        group = [job for job in part if job not in records]
        asked = [ask(corpus, job, records, folder) for job in group]
        able = [place for place, turns in enumerate(asked) if turns is not None]
        seeds = [seed_of(group[place]) for place in able]
        turns = [asked[place] or [] for place in able]
        replies = model.generate(turns, max_new_tokens=max_new_tokens, seeds=seeds) if able else []
        said = dict(zip(able, replies, strict=True))
        for place, job in enumerate(group):
            records.add(
                Record(
                    job=job,
                    inputs=kept(asked[place] or [], folder, job),
                    outputs=answered(said[place], folder, job) if place in said else [],
                    noise=seed_of(job),
                    config={"max_new_tokens": max_new_tokens},
                    model=identity,
                )
            )
        progress(len(group))


def ask(corpus: Corpus, job: Job, records: Records, folder: Path) -> list[Message] | None:
    """The conversation of a job; None of a cycle whose first leg made nothing."""
    if job.route == PLAIN:
        return [{"role": "user", "content": corpus.plain()[int(job.sample)]}]
    before = first_leg(job)
    if before is None:
        source, target = job.source, job.target
        media: Any = None if source == "text" else corpus.media(job.split, source, job.sample, job.seed)
    else:
        source, target = before.target, job.target
        place = records[before].shown(source)
        if place is None:
            return None
        media = read(folder / place)
    turns = corpus.request(job.split, source, target, job.sample, job.seed)
    if media is None:
        return turns
    return [
        {**turn, "content": [part if part["type"] == "text" else {**part, "media": media} for part in turn["content"]]}
        for turn in turns
    ]
