"""What a user may choose of a run, checked: the parser, the judge and its words, the folder that holds a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import found
from anyx.benchmarks.judges import Kept, Replay, TextJudge
from anyx.benchmarks.samples import Benchmark, Review
from anyx.benchmarks.table import benchmark as named


def ready(
    name: str, data: Path, split: str | None, parser: str | None, judge_prompt: Path | None
) -> tuple[Benchmark, str, str, list[Path]]:
    """The benchmark, its parser and split, the files it is read from; ValueError before a model is loaded in vain."""
    family = named(name)
    split = family.split if split is None else split
    review_of(family, judge_prompt)
    return family, parser_of(family, parser), split, found(family, data, split)


def held(name: str, out: Path) -> dict[str, Any]:
    """What `run.json` says of a folder; ValueError where it holds no run of this benchmark."""
    file = out / "run.json"
    if not file.is_file():
        raise ValueError(f"--out: there is no run in {out}; `anyx benchmark {name} --data FOLDER` makes one")
    run: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if run.get("benchmark") != name:
        raise ValueError(f"--out: {out} holds a run of {run.get('benchmark')!r}, not of {name!r}")
    return run


def parser_of(family: Benchmark, parser: str | None) -> str:
    """The parser asked for, the family's own by default; ValueError for another family's."""
    if parser is not None and parser not in family.parsers:
        raise ValueError(f"--parser: {parser!r} is not one of {', '.join(family.parsers)}, which read this benchmark")
    return parser or family.parsers[0]


def review_of(family: Benchmark, file: Path | None) -> Review:
    """How the judge is asked: the family's own words, or those of a file, which is named by its digest."""
    if file is None:
        return family.review or Review("", "")
    if family.review is None:
        raise ValueError("--judge-prompt: this benchmark is scored without a judge")
    if not file.is_file():
        raise ValueError(f"--judge-prompt: there is no file '{file}'")
    text = file.read_text(encoding="utf-8")
    return Review(f"{file.name}@{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}", text)


def judge_of(
    family: Benchmark, out: Path, judge: TextJudge | None, advance: Callable[[int], None] = lambda count: None
) -> TextJudge | None:
    """The judge that is named, its answers kept beside the records; else what was kept of the last."""
    if family.review is None:
        return None
    kept = out / "judgements.jsonl"
    if judge is not None:
        return Kept(judge, kept, advance)
    if not kept.is_file():
        raise ValueError(
            "this benchmark is scored by a judge: name one by --judge-file, or --judge-url and --judge-model"
        )
    return Replay(kept)
