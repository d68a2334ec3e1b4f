"""MMBench's TSV: index, question, hint, A to D, answer, category, l2-category, split, image (base64).

CircularEval asks a question once for each of its options, which move on by one each time; the index of a rotation is
the question's plus a million a step. A table that holds rotations already (indices from a million on) is left as it is;
there a short `image` is the index of the row that holds the picture. The test splits come without answers: they can be
asked and sent to the benchmark's server, not scored here.
"""

from __future__ import annotations

import base64
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import read_tsv
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, each, worded
from anyx.scoring.circular import STEP, mmbench, options

LETTERS = string.ascii_uppercase
KEPT = ("question", "hint", "answer", "category", "l2-category", "split")
REFERS = 64  # an `image` no longer than this is the index of another row


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """Every rotation of every question."""
    (file,) = files
    turned = any((row["index"] or "").isdecimal() and int(row["index"] or 0) >= STEP for row in read_tsv(file))
    pictures: dict[str, str] = {}

    def made(line: Mapping[str, str | None]) -> Iterator[Sample]:
        index, text = int(line["index"] or 0), line["image"] or ""
        if len(text) <= REFERS and text in pictures:
            text = pictures[text]
        elif turned:
            pictures[str(index)] = text
        letters = {letter: value for letter, value in options(line).items() if letter in "ABCDE"}
        row: dict[str, Any] = {"index": index} | {key: line[key] for key in KEPT if line.get(key) is not None} | letters
        for asking in [row] if turned else rotations(row, letters):
            name, question = str(asking["index"]), str(asking["index"] % STEP)
            words = worded("mmbench_en_dev", asking)
            yield Sample(name, asked(words, decoded(text)), asking, group=question, source=question)

    yield from each(read_tsv(file), made, group=lambda line: str(int(line["index"]) % STEP))


def rotations(row: Mapping[str, Any], letters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A row once an option: in step k the letter at place p names the option of place p + k, around the end."""
    texts = list(letters.values())
    for step in range(len(texts)):
        moved = dict(zip(letters, texts[step:] + texts[:step], strict=True))
        turned = {**row, "index": row["index"] + step * STEP, **moved}
        if "answer" in row:
            turned["answer"] = LETTERS[(LETTERS.index(row["answer"]) - step) % len(texts)]
        yield turned


def decoded(text: str) -> bytes:
    """The bytes of base64; those of what is none are no picture, and are reported as such when they are opened."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii's own, or for letters that are not ASCII
        return b"no base64"


MMBENCH = Benchmark(
    holds="one MMBench TSV (index, question, A, B, .., answer, category, l2-category, image in base64)",
    files=[["*.tsv"]],
    read=read,
    score=lambda rows, parser: mmbench(rows, parser=parser),
    parsers=("mcq@vlmeval",),
    prompt=f"mmbench_en_dev@{WORDING}",
)
