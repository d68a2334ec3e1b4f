"""Making the requests of a matrix: jobs -> conversations -> replies -> records.

Jobs run in batches of one cell. What goes in and what comes out is written beside the records, so that a person can
look; judges see the media themselves, not the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from anyx.evaluation.corpus import Corpus, Message
from anyx.evaluation.judges import Judges, rankings
from anyx.evaluation.metrics import sound
from anyx.evaluation.records import Job, Record, Records
from anyx.interfaces import Media
from anyx.media import Audio, Image
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


def plan(corpus: Corpus, *, limit: int | None, seed: int) -> list[Job]:
    """Every job of a run, both splits first, then what is reported apart, then plain chat."""
    wanted: Mapping[str, Sequence[str]] = {split: cells(corpus.keys) for split in corpus.splits} | dict(corpus.apart)
    jobs = [
        Job(split, cell, concept, seed)
        for split, names in wanted.items()
        for cell in names
        for concept in corpus.chosen(split, limit)
    ]
    return jobs + [Job(PLAIN, PLAIN, str(index), seed) for index, _ in enumerate(corpus.plain())]


def seed_of(job: Job) -> int:
    """The noise a job starts from."""
    return int.from_bytes(hashlib.blake2b(repr(job).encode(), digest_size=6).digest(), "little")


def run(
    model: Model,
    corpus: Corpus,
    judges: Judges,
    jobs: Sequence[Job],
    records: Records,
    folder: Path,
    *,
    batch: int,
    max_new_tokens: int,
    progress: Callable[[int], None] = lambda count: None,
) -> None:
    """Do the jobs that have no record yet."""
    left = [job for job in jobs if job not in records]
    progress(len(jobs) - len(left))
    while left:
        group = [job for job in left[:batch] if (job.split, job.cell) == (left[0].split, left[0].cell)]
        left = left[len(group) :]
        asked = [ask(corpus, job) for job in group]
        replies = model.generate(
            [turns for turns, _ in asked], max_new_tokens=max_new_tokens, seeds=[*map(seed_of, group)]
        )
        for record in judged(judges, group, asked, replies, folder):
            records.add(record)
        progress(len(group))


def ask(corpus: Corpus, job: Job) -> tuple[list[Message], Media | None]:
    """The conversation of a job, and the medium in it."""
    if job.cell == PLAIN:
        return [{"role": "user", "content": corpus.plain()[int(job.concept)]}], None
    source, _, target = job.cell.partition("->")
    if source == "text":
        return corpus.request(job.split, source, target, job.concept, job.seed), None
    media = corpus.media(job.split, source, job.concept, job.seed)
    turns = [
        {**turn, "content": [part if part["type"] == "text" else {**part, "media": media} for part in turn["content"]]}
        for turn in corpus.request(job.split, source, target, job.concept, job.seed)
    ]
    return turns, media


def judged(
    judges: Judges,
    group: Sequence[Job],
    asked: Sequence[tuple[list[Message], Media | None]],
    replies: Sequence[Reply],
    folder: Path,
) -> list[Record]:
    """Records of a batch of one cell, ranked by the judges of its output."""
    target = group[0].cell.partition("->")[2] or "text"
    outputs = [output_of(reply, target) for reply in replies]
    good = [index for index, output in enumerate(outputs) if output is not None and sound(output)]
    ranked: list[dict[str, list[int]]] = [{} for _ in group]
    if group[0].cell != PLAIN:
        for name, judge in judges[target].items():
            for index, row in zip(good, rankings(judge, [outputs[index] for index in good]), strict=True):
                ranked[index][name] = row
    found = []
    for index, job in enumerate(group):
        turns, media = asked[index]
        kinds = {key for key in replies[index].keys if key != "text"}
        output = outputs[index]
        found.append(
            Record(
                job=job,
                request=words_of(turns[-1]),
                text=replies[index].text,
                keys=list(replies[index].keys),
                valid=index in good,
                exact=index in good and kinds <= {target},
                given=keep(media, folder, job, "in"),
                shown=None if output is None else keep(output, folder, job, "out"),
                ranked=ranked[index],
            )
        )
    return found


def output_of(reply: Reply, target: str) -> Any:
    """The first output of the asked modality: words, a medium, or None."""
    if target == "text":
        return reply.text.strip() or None
    return next(iter(reply.media(target)), None)


def words_of(turn: Message) -> str:
    """The words of a message."""
    content = turn["content"]
    return content if isinstance(content, str) else " ".join(part["text"] for part in content if part["type"] == "text")


def keep(media: Media | str | None, folder: Path, job: Job, side: str) -> str | None:
    """Write a medium beside the records; its path from there."""
    if media is None or isinstance(media, str):
        return None
    suffix = "png" if isinstance(media, Image) else "ogg" if isinstance(media, Audio) else "mp4"
    place = Path("media", job.split, job.cell.replace("->", "-to-"), f"{job.concept}-{job.seed}-{side}.{suffix}")
    media.save(folder / place)
    return place.as_posix()
