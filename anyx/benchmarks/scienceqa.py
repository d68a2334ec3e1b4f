"""ScienceQA's release: `problems.json`, `pid_splits.json` and `test/<id>/image.png`; or Parquet files of the Hub.

Questions without a picture are asked by words alone. Samples of Parquet files, which have no id, are named by place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import cell, located, read_json, read_parquet
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, each, worded
from anyx.scoring.scienceqa import scienceqa


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question of the split."""
    if files[0].suffix == ".parquet":
        chosen = [file for file in files if split in file.name]
        if not chosen:
            raise ValueError(f"--split: none of {', '.join(file.name for file in files)} has '{split}' in its name")
        yield from each(enumerate(read_parquet(chosen)), tabled)
        return
    problems, splits = (read_json(file) for file in files)
    if split not in splits:
        raise ValueError(f"--split: {split!r} is not one of {', '.join(splits)}")

    def made(name: str) -> Iterator[Sample]:
        held = problems[name]
        place = located(folder, held["image"] or "", f"{held['split']}/{name}", f"images/{held['split']}/{name}")
        yield sample(name, held, [place] if held["image"] else [])

    yield from each(splits[split], made)


def tabled(entry: tuple[int, Mapping[str, Any]]) -> Iterator[Sample]:
    """The sample of a numbered row of a table."""
    number, held = entry
    data = cell(held["image"])
    yield sample(str(number), held, [] if data is None else [data])


def sample(name: str, held: Mapping[str, Any], pictures: Sequence[Path | bytes]) -> Sample:
    """One question, with a picture or without."""
    row = {"question": held["question"], "hint": held["hint"], "choices": list(held["choices"])}
    row |= {"answer": int(held["answer"]), "has_image": bool(pictures)}
    return Sample(name, asked(worded("scienceqa_img", row), *pictures), row)


SCIENCEQA = Benchmark(
    holds="problems.json, pid_splits.json and pictures in test/<id>/; or Parquet files with 'test' in the name",
    files=[["problems.json", "pid_splits.json"], ["*.parquet"]],
    split="test",
    split_inside=["problems.json", "pid_splits.json", "*.parquet"],
    many=["*.parquet"],
    read=read,
    score=lambda rows, parser: scienceqa(rows, parser=parser),
    parsers=("sqa@llava", "sqa@lmms"),
    prompt=f"scienceqa_img@{WORDING}",
)
