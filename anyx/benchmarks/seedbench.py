"""SEED-Bench's release: `SEED-Bench.json` with `questions` and the names of their types; `SEED-Bench-image/<data_id>`.

Questions about clips are asked of one frame, `SEED-Bench-video-image/<type>_<question>.png`, as LLaVA cuts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, each, worded
from anyx.scoring.seedbench import seedbench

CHOICES = tuple(f"choice_{letter}" for letter in "abcd")


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question."""
    (file,) = files
    held = read_json(file)
    types = {number: name for name, number in held.get("question_type", {}).items()}

    def made(asking: Mapping[str, Any]) -> Iterator[Sample]:
        number, kind = asking["question_id"], asking["question_type_id"]
        row = {key: asking[key] for key in ("question", "answer", *CHOICES)}
        row["data_type"] = types.get(kind, str(kind))
        if asking["data_type"] == "image":
            where = located(folder, asking["data_id"], "SEED-Bench-image", endings=("", ".jpg", ".png"))
        else:
            where = located(folder, f"{kind}_{number}.png", "SEED-Bench-video-image")
        yield Sample(str(number), asked(worded("seedbench", row), where), row, source=str(asking["data_id"]))

    yield from each(held["questions"], made)


SEEDBENCH = Benchmark(
    holds="SEED-Bench.json and pictures in SEED-Bench-image/ (frames of clips in SEED-Bench-video-image/)",
    files=[["SEED-Bench*.json"]],
    read=read,
    score=lambda rows, parser: seedbench(rows, parser=parser),
    parsers=("seed@first",),
    prompt=f"seedbench@{WORDING}",
)
