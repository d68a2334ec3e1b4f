"""POPE's release: `coco_pope_random.json`, `.._popular.json`, `.._adversarial.json`, each JSONL; COCO's pictures.

The category is the last word of a file's name. A folder that has POPE on several sets is read one set at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_lines
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, each, question
from anyx.scoring.pope import pope


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a line of every file."""
    categories = [file.stem.rpartition("_")[2] for file in files]
    if len(set(categories)) < len(files):
        raise ValueError(f"{folder} holds POPE on several sets: {', '.join(f.name for f in files)}; choose by --split")
    for file, category in zip(files, categories, strict=True):
        yield from each(read_lines(file), partial(made, folder, category), name=f"{category}/entry")


def made(folder: Path, category: str, line: Mapping[str, Any]) -> Iterator[Sample]:
    """The sample of a line."""
    name, right = f"{category}/{line['question_id']}", {"category": category, "answer": line["label"]}
    where = located(folder, line["image"], "val2014", "images", "images/val2014", "")
    yield question("pope", name, line["text"], where, right, source=line["image"])


POPE = Benchmark(
    holds="coco_pope_random.json, coco_pope_popular.json, coco_pope_adversarial.json and pictures in val2014/",
    files=[["*pope_*.json*"]],
    many=["*pope_*.json*"],
    read=read,
    score=lambda rows, parser: pope(rows, parser=parser),
    parsers=("pope@llava", "pope@lmms"),
    prompt=f"pope@{WORDING}",
    max_new_tokens=128,
)
