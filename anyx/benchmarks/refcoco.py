"""RefCOCO, RefCOCO+ and RefCOCOg as lmms-eval has them: Parquet files, or a JSON list, of objects in pictures.

A row holds question_id, the picture (or its `file_name`), `answer` (the sentences that refer to an object) and `bbox`
(left, top, width, height in pixels). Each sentence is asked by itself; boxes are shares of the picture's sides.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from anyx.benchmarks.folders import cell, located, read_json, read_parquet
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, worded
from anyx.scoring.boxes import boxes


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a sentence."""
    tables = files[0].suffix == ".parquet"
    held = read_parquet(files) if tables else (one for file in files for one in read_json(file))
    for place, one in enumerate(held):
        data = cell(one["image"]) if tables else None
        source = located(folder, one["file_name"], "images", "train2014", "") if data is None else data
        box = shares(one["bbox"], source)
        for number, sentence in enumerate(one["answer"]):
            row: Mapping[str, Any] = {"answer": sentence, "box": box}
            name = f"{one['question_id']}/{place}/{number}"
            words = worded("refcoco_bbox_rec_val", row)
            yield Sample(name, asked(words, source), dict(row), source=str(one.get("file_name", one["question_id"])))


def shares(box: Sequence[float], source: Path | bytes) -> list[float] | None:
    """Left, top, right, bottom as shares; None of a picture that cannot be opened, which is then not asked about."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            wide, high = picture.size
    except (OSError, UnidentifiedImageError):
        return None
    left, top, width, height = box
    return [left / wide, top / high, (left + width) / wide, (top + height) / high]


REFCOCO = Benchmark(
    holds="lmms-eval's RefCOCO as Parquet, or a JSON list of its rows and pictures in images/",
    files=[["*.parquet"], ["*.json"]],
    split="val",
    many=True,
    read=read,
    score=lambda rows, parser: boxes(rows, parser=parser),
    parsers=("box@brackets",),
    prompt=f"refcoco_bbox_rec_val@{WORDING}",
    max_new_tokens=64,
)
