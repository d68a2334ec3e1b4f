"""DocVQA's release: `val_v1.0_withQT.json` or `val_v1.0.json` with `data`; pages in `documents/` or beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import Benchmark, Sample, asked, each
from anyx.scoring.prompts import SHORT
from anyx.scoring.short_answers import anls


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question; of the test split without answers."""
    (file,) = files

    def made(asking: Mapping[str, Any]) -> Iterator[Sample]:
        page = asking["image"].rpartition("/")[2]
        where = located(folder, page, "documents", f"{split}/documents", "spdocvqa_images", "images", "")
        row: dict[str, Any] = {"question": asking["question"]}
        row |= {"references": asking["answers"]} if "answers" in asking else {}
        yield Sample(str(asking["questionId"]), asked(asking["question"] + SHORT, where), row, source=page)

    yield from each(read_json(file)["data"], made)


DOCVQA = Benchmark(
    holds="DocVQA's val_v1.0_withQT.json and pages in documents/, val/documents/ or spdocvqa_images/",
    files=[["*_v1.0*.json"]],
    split="val",
    read=read,
    score=lambda rows, parser: anls(rows, parser=parser),
    parsers=("anls@lmms",),
    prompt="docvqa@short",
    max_new_tokens=32,
)
