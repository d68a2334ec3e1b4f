"""VizWiz's release: `val.json`, a list of pictures with a question and ten answers each; pictures in `val/`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, each, question
from anyx.scoring.vqa import vqa


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a picture; of the test split without answers."""
    (file,) = files

    def made(asking: Mapping[str, Any]) -> Iterator[Sample]:
        right: dict[str, Any] = {}
        if "answers" in asking:
            right = {"answers": [one["answer"] for one in asking["answers"]], "answer_type": asking["answer_type"]}
        where = located(folder, asking["image"], file.stem, "images", "")
        yield question("vizwiz_vqa_val", asking["image"], asking["question"], where, right)

    yield from each(read_json(file), made)


VIZWIZ = Benchmark(
    holds="VizWiz's val.json (perhaps in Annotations/) and pictures in val/",
    files=[["*.json"]],
    split="val",
    read=read,
    score=lambda rows, parser: vqa(rows, parser=parser),
    parsers=("vqa@m4c", "vqa@official"),
    prompt=f"vizwiz_vqa_val@{WORDING}",
)
