"""GQA's release: `testdev_balanced_questions.json`, questions by their id; pictures in `images/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, each, question
from anyx.scoring.short_answers import exact_match


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question; of the test split without answers."""
    (file,) = files

    def made(entry: tuple[str, Mapping[str, Any]]) -> Iterator[Sample]:
        name, asking = entry
        right = {"references": [asking["answer"]]} if "answer" in asking else {}
        where = located(folder, f"{asking['imageId']}.jpg", "images", "")
        yield question("gqa", name, asking["question"], where, right, source=asking["imageId"])

    yield from each(read_json(file).items(), made)


GQA = Benchmark(
    holds="GQA's testdev_balanced_questions.json and pictures in images/",
    files=[["*questions*.json"]],
    split="testdev_balanced",
    read=read,
    score=lambda rows, parser: exact_match(rows, parser=parser),
    parsers=("gqa@lmms", "gqa@llava"),
    prompt=f"gqa@{WORDING}",
)
