"""Captions: COCO's and NoCaps' annotation files (`images`, `annotations`), and Karpathy's file of Flickr30k.

NoCaps' file says of each picture whether its objects are known from COCO: figures by domain are in the details, each
over the pictures of that domain alone, as its server has them. The `parser` is the tokenizer of the captions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, each, worded
from anyx.scoring import Result
from anyx.scoring.captions import captions
from anyx.scoring.rows import Row, subsets

TOKENIZERS = ("ptb-lite", "ptb-java")


def read_coco(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a picture that has captions; pictures lie in the folder that the file is named after, or images/."""
    (file,) = files
    held = read_json(file)
    said: dict[Any, list[Any]] = {}
    for one in held["annotations"]:
        said.setdefault(one.get("image_id"), []).append(one)

    def made(image: Mapping[str, Any]) -> Iterator[Sample]:
        if image["id"] in said:
            row = {"references": [one["caption"] for one in said[image["id"]]]}
            row |= {"domain": image["domain"]} if "domain" in image else {}
            places = (file.stem.removeprefix("captions_"), "images", "val", "")
            yield sample(str(image["id"]), located(folder, image["file_name"], *places), row)

    yield from each(held["images"], made)
    yield from each(said.get(None, []), lambda one: one["image_id"], name="annotation")  # nobody knows of what


def read_karpathy(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a picture of the split."""
    (file,) = files

    def made(image: Mapping[str, Any]) -> Iterator[Sample]:
        if image["split"] == split:
            where = located(folder, image["filename"], "flickr30k-images", "flickr30k_images", "images", "")
            yield sample(str(image["imgid"]), where, {"references": [one["raw"] for one in image["sentences"]]})

    yield from each(read_json(file)["images"], made)


def sample(name: str, where: Path, row: dict[str, Any]) -> Sample:
    """One picture to describe."""
    return Sample(name, asked(worded("coco2017_cap_val", row), where), {**row, "name": name})


def score(rows: Sequence[Row], tokenizer: str) -> Result:
    """The scores of all pictures and, where rows have a domain, of each domain's."""
    whole = scored(rows, tokenizer)
    parts = {
        f"domain {name}": scored([rows[place] for place in places], tokenizer).figures
        for name, places in subsets(rows, "domain").items()
    }
    return replace(whole, details={**parts, **{f"image {name}": one for name, one in whole.details.items()}})


def scored(rows: Sequence[Row], tokenizer: str) -> Result:
    """The scores of some pictures."""
    references = {row["name"]: row["references"] for row in rows}
    return captions(references, {row["name"]: row["prediction"] for row in rows}, tokenizer=tokenizer)


COCO = Benchmark(
    holds="captions_val2017.json (images, annotations) and pictures in val2017/ or images/",
    files=[["captions_*.json"]],
    split="val",
    read=read_coco,
    score=score,
    parsers=TOKENIZERS,
    prompt=f"coco2017_cap_val@{WORDING}",
    max_new_tokens=64,
)
NOCAPS = Benchmark(
    holds="nocaps_val_4500_captions.json (images with a domain, annotations) and pictures in images/",
    files=[["nocaps*captions.json"]],
    split="val",
    read=read_coco,
    score=score,
    parsers=TOKENIZERS,
    prompt=f"nocaps_val@{WORDING}",
    max_new_tokens=64,
)
FLICKR30K = Benchmark(
    holds="Karpathy's dataset_flickr30k.json and pictures in flickr30k-images/ or images/",
    files=[["dataset_flickr*.json"]],
    split="test",
    split_inside=["dataset_flickr*.json"],
    read=read_karpathy,
    score=score,
    parsers=TOKENIZERS,
    prompt=f"flickr30k_test@{WORDING}",
    max_new_tokens=64,
)
