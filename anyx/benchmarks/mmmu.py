"""MMMU's Parquet files: id, question, options (a list, written out), answer, question_type, image_1 to image_7.

A picture goes where the text first says `<image 1>`; those that no text names are not shown. The subject is the middle
of the id: `validation_Art_Theory_3` is of Art_Theory.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import cell, read_parquet
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, each, picture, worded
from anyx.scoring.mmmu import mmmu

MARK = re.compile(r"(<image \d>)")
UNKNOWN = ("", "?")  # the answers of the test split, which its server keeps


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a row."""
    yield from each(read_parquet(files), made)


def made(held: Mapping[str, Any]) -> Iterator[Sample]:
    """The sample of a row."""
    row: dict[str, Any] = {
        "question": held["question"],
        "question_type": held["question_type"],
        "options": listed(held["options"]),
        "subject": "_".join(held["id"].split("_")[1:-1]),
    }
    if held["answer"] not in UNKNOWN:
        answers = listed(held["answer"]) if str(held["answer"]).startswith("[") else held["answer"]
        row["answer"] = answers
    words = worded("mmmu_val", row)
    yield Sample(held["id"], [{"role": "user", "content": parts(words, held)}], row)


def parts(text: str, held: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Words and pictures in the order of the text; a picture that is named again is not shown again."""
    found: list[dict[str, Any]] = []
    shown: set[str] = set()
    for piece in MARK.split(text):
        data = cell(held.get(f"image_{piece[7:-1]}")) if MARK.fullmatch(piece) and piece not in shown else None
        if data is not None:
            shown.add(piece)
            found.append(picture(data))
        elif piece:
            found.append({"type": "text", "text": piece})
    return found


def listed(value: Any) -> list[str]:
    """A list, or one that is written as Python writes it."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise TypeError(f"{value!r} is no list") from error
    return [str(one) for one in value]


MMMU = Benchmark(
    holds="MMMU's Parquet files, a folder a subject (Accounting/validation-00000-of-00001.parquet)",
    files=[["*.parquet"]],
    split="validation",
    many=["*.parquet"],
    read=read,
    score=lambda rows, parser: mmmu(rows, parser=parser),
    parsers=("mcq@mmmu",),
    prompt=f"mmmu_val@{WORDING}, pictures in place",
    max_new_tokens=128,
)
