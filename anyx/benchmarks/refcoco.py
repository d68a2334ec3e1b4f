"""RefCOCO, RefCOCO+ and RefCOCOg: as the REFER tools release them, or as lmms-eval has them. Each sentence is asked.

REFER     `refs(unc).p`, of RefCOCOg `refs(umd).p`: a pickle of lists (read without running it) of ref_id, split,
          sentences, and the ids of an image and an annotation in COCO's `instances.json` beside it
lmms-eval Parquet files, or a JSON list, of question_id, the picture (or its `file_name`), `answer` (the sentences) and
          `bbox`. A name that the release gives, `COCO_train2014_000000581857_16.jpg`, is of an object: its picture is
          that without `_16`

A box is left, top, width, height in pixels there, and shares of the picture's sides here.
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
from anyx.data.regions import listed, loaded
from anyx.scoring.boxes import boxes

TASK = "refcoco_bbox_rec_val"
OBJECT = re.compile(r"(?<=\d{12})_\d+(?=\.)")
PLACES = ("images", "train2014", "", "images/train2014", "images/mscoco/images/train2014")
INSTANCES = "instances.json"
REFS = [f"refs({by}).p" for by in ("unc", "umd", "google")]  # who split the set; where several are there, the first


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a sentence."""
    if files[0].suffix == ".p":
        refs, instances = files
        yield from referred(folder, refs, instances, split)
        return
    tables = files[0].suffix == ".parquet"
    held = read_parquet(files) if tables else read_json(files[0])

    def made(entry: tuple[int, Mapping[str, Any]]) -> Iterator[Sample]:
        place, one = entry
        data = cell(one["image"]) if tables else None
        name = OBJECT.sub("", one.get("file_name") or str(one["question_id"]))
        where = located(folder, name, *PLACES) if data is None else data
        box = measured(one["bbox"], where)
        yield from sentences(f"{one['question_id']}/{place}", one["answer"], box, where, name)

    yield from each(enumerate(held), made)


def referred(folder: Path, refs: Path, instances: Path, split: str) -> Iterator[Sample]:
    """The samples of a split of REFER's two files; ValueError lists the splits that there are."""
    held = listed(refs, None, ("split",))
    if split not in (known := {ref["split"] for ref in held}):
        raise ValueError(f"--split: {split!r} is not one of {', '.join(sorted(known))}, those of {refs.name}")
    objects = loaded(instances)
    placed = {item["id"]: item["bbox"] for item in listed(instances, "annotations", ("id", "bbox"), objects)}
    pictures = {item["id"]: item for item in listed(instances, "images", ("id", "file_name"), objects)}

    def made(ref: Mapping[str, Any]) -> Iterator[Sample]:
        picture = pictures[ref["image_id"]]
        box = shares(placed[ref["ann_id"]], picture["width"], picture["height"])
        where = located(folder, picture["file_name"], *PLACES)
        said = [sentence["sent"] for sentence in ref["sentences"]]
        yield from sentences(f"ref {ref['ref_id']}", said, box, where, picture["file_name"])

    yield from each([ref for ref in held if ref["split"] == split], made)


def sentences(
    name: str, said: Sequence[str], box: Sequence[float] | None, where: Path | bytes, source: str
) -> Iterator[Sample]:
    """A sample a sentence of one object."""
    for number, sentence in enumerate(said):
        row = {"answer": sentence, "box": box}
        yield Sample(f"{name}/{number}", asked(worded(TASK, row), where), row, source=source)


def measured(box: Sequence[float], where: Path | bytes) -> list[float] | None:
    """Shares of a picture that is opened for its size; None of one that cannot be, which is then not asked about."""
    try:
        with Image.open(io.BytesIO(where) if isinstance(where, bytes) else where) as picture:
            return shares(box, *picture.size)
    except (OSError, UnidentifiedImageError):
        return None


def shares(box: Sequence[float], wide: int, high: int) -> list[float]:
    """Left, top, width, height in pixels -> left, top, right, bottom as shares."""
    left, top, width, height = box
    return [left / wide, top / high, (left + width) / wide, (top + height) / high]


REFCOCO = Benchmark(
    holds="refs(unc).p or refs(umd).p and instances.json of REFER, with COCO's pictures in train2014/; or lmms-eval's "
    "RefCOCO as Parquet, or a JSON list of its rows, with pictures in images/",
    files=[["*.parquet"], *([refs, INSTANCES] for refs in REFS), ["*.json"]],
    split="val",
    split_inside=[*REFS, INSTANCES],
    many=["*.parquet"],
    read=read,
    score=lambda rows, parser: boxes(rows, parser=parser),
    parsers=("box@brackets",),
    prompt=f"{TASK}@{WORDING}",
    max_new_tokens=64,
)
