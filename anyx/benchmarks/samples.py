"""What a benchmark is: files in a folder -> samples to ask and rows to score. Every family is one value in one file.

A reader yields samples in a fixed order and opens no medium: a part of a message names its picture by `path`, or holds
its encoded bytes as `media` where a table does. Its `type` is the model's input, its `kind` that of `anyx.media` where
it is called otherwise. What is asked and what is scored part here: `turns` go to a model, `row` is kept beside the
record, and scoring reads the two files alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyx.evaluation.corpus import Message
from anyx.scoring import Result, prompts
from anyx.scoring.rows import Row

RIGHT = ("reference", "references", "answers", "box", "answer")  # of a row's keys, the first that is there is right
WORDING = "lmms-0.7"  # whose wording `anyx.scoring.prompts` has


@dataclass(frozen=True)
class Sample:
    """One question: its name in the benchmark, the conversation, the row that scoring needs (plain JSON).

    Samples of one `group` are scored together and never cut apart (the two questions of a picture, the rotations of
    one question); those of one `source` came of one picture, so that their scores vary together. Both default to `id`.
    """

    id: str
    turns: list[Message]
    row: dict[str, Any]
    group: str = ""
    source: str = ""
    fault: str = ""  # of a malformed entry: why there is nothing to ask

    @property
    def route(self) -> str:
        """What goes in by its kind, and that words come out."""
        kinds = [part["type"] for turn in self.turns for part in turn["content"] if part["type"] != "text"]
        return f"{kinds[0] if kinds else 'text'}->text"


@dataclass(frozen=True)
class Review:
    """How answers are shown to a judge: a template with `{names}` of a row's keys, versioned by `name`."""

    name: str
    template: str


@dataclass(frozen=True)
class Benchmark:
    """A family: what its folder `holds`, in words; the `files` it is read from; how it is asked and scored.

    `files` are alternatives, each a list of glob patterns that must all be found, one file each but of those in `many`.
    Files count whose name has `split` in it, as a word if any has it so; those of the patterns `split_inside` say
    themselves what is of which split. `parsers` are allowed, the default first. `review` is of those that a judge
    scores.
    """

    holds: str
    files: Sequence[Sequence[str]]
    read: Callable[[Path, Sequence[Path], str], Iterator[Sample]]  # folder, files, split
    score: Callable[[Sequence[Row], str], Result]  # rows with `prediction`, perhaps `review`; the parser's name
    parsers: Sequence[str]
    prompt: str  # whose wording asks, for the result
    max_new_tokens: int = 16
    split: str = ""
    many: Sequence[str] = ()
    split_inside: Sequence[str] = ()
    review: Review | None = None


MALFORMED = (KeyError, IndexError, TypeError, AttributeError, ValueError)  # what an entry of another form ends in


def each(
    entries: Iterable[Any],
    made: Callable[[Any], Iterable[Sample]],
    *,
    name: str = "entry",
    group: Callable[[Any], str] = lambda entry: "",
) -> Iterator[Sample]:
    """The samples made of every entry; of one that lacks what it should have, one that says so and is not asked.

    `name` begins what such a sample is called, its place follows; `group` says of which group its samples would be.
    """
    for place, entry in enumerate(entries):
        try:
            samples = list(made(entry))
        except MALFORMED as error:
            try:
                of = group(entry)
            except MALFORMED:
                of = ""
            samples = [Sample(f"{name} {place}", [], {}, of, fault=f"{type(error).__name__}: {error}")]
        yield from samples


def asked(text: str, *pictures: Path | bytes) -> list[Message]:
    """One message of the user: the pictures, then the words."""
    return [{"role": "user", "content": [*(picture(one) for one in pictures), {"type": "text", "text": text}]}]


def picture(source: Path | bytes) -> dict[str, Any]:
    """A part that is a picture, by its file or its encoded bytes."""
    return {"type": "image", "path": str(source)} if isinstance(source, Path) else {"type": "image", "media": source}


def question(
    task: str, name: str, text: str, where: Path, right: Mapping[str, Any], *, group: str = "", source: str = ""
) -> Sample:
    """A question about one picture, asked as a task of `anyx.scoring.prompts` words it.

    `right` is what its answer is scored by, and by subset: nothing of a split whose answers are not released.
    """
    row = {"question": text, **right}
    return Sample(name, asked(worded(task, row), where), row, group, source)


def worded(task: str, row: Row) -> str:
    """What `anyx.scoring.prompts` asks for a row of a task."""
    return prompts.prompt(task, row).text
