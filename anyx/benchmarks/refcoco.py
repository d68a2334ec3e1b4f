"""RefCOCO, RefCOCO+ and RefCOCOg as lmms-eval has them: Parquet files, or a JSON list, of objects in pictures.

A row holds question_id, the picture (or its `file_name`), `answer` (the sentences that refer to an object) and `bbox`
(left, top, width, height in pixels). Each sentence is asked by itself; boxes are shares of the picture's sides. A name
that the release gives, `COCO_train2014_000000581857_16.jpg`, is of an object: its picture is that without `_16`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from anyx.benchmarks.folders import cell, located, read_json, read_parquet
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, each, worded
from anyx.scoring.boxes import boxes

OBJECT = re.compile(r"(?<=\d{12})_\d+(?=\.)")


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a sentence."""
    tables = files[0].suffix == ".parquet"
    held = read_parquet(files) if tables else read_json(files[0])

    def made(entry: tuple[int, Mapping[str, Any]]) -> Iterator[Sample]:
        place, one = entry
        data = cell(one["image"]) if tables else None
        name = OBJECT.sub("", one.get("file_name") or str(one["question_id"]))
        where = located(folder, name, "images", "train2014", "") if data is None else data
        box = shares(one["bbox"], where)
        for number, sentence in enumerate(one["answer"]):
            row: Mapping[str, Any] = {"answer": sentence, "box": box}
            words = worded("refcoco_bbox_rec_val", row)
            yield Sample(f"{one['question_id']}/{place}/{number}", asked(words, where), dict(row), source=name)

    yield from each(enumerate(held), made)


def shares(box: Sequence[float], where: Path | bytes) -> list[float] | None:
    """Left, top, right, bottom as shares; None of a picture that cannot be opened, which is then not asked about."""
    try:
        with Image.open(io.BytesIO(where) if isinstance(where, bytes) else where) as picture:
            wide, high = picture.size
    except (OSError, UnidentifiedImageError):
        return None
    left, top, width, height = box
    return [left / wide, top / high, (left + width) / wide, (top + height) / high]


REFCOCO = Benchmark(
    holds="lmms-eval's RefCOCO as Parquet, or a JSON list of its rows and pictures in images/",
    files=[["*.parquet"], ["*.json"]],
    split="val",
    many=["*.parquet"],
    read=read,
    score=lambda rows, parser: boxes(rows, parser=parser),
    parsers=("box@brackets",),
    prompt=f"refcoco_bbox_rec_val@{WORDING}",
    max_new_tokens=64,
)
