"""TextVQA's release: `TextVQA_0.5.1_val.json`, ten answers a question; pictures in `train_images/` (of val too).

`textvqa-ocr` shows the words of `TextVQA_Rosetta_OCR_v0.2_val.json` with the question, as LLaVA does: another figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, asked, each, worded
from anyx.scoring.vqa import vqa

PLACES = ("train_images", "train_val_images/train_images", "test_images", "images", "")
QUESTIONS, OCR = "TextVQA_[0-9]*.json", "TextVQA_Rosetta_OCR*.json"


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question; with a second file, the words that were read in the picture too."""
    questions, *ocr = (read_json(file)["data"] for file in files)
    seen = {one.get("image_id"): one for held in ocr for one in held}

    def made(asking: Mapping[str, Any]) -> Iterator[Sample]:
        image = asking["image_id"]
        row: dict[str, Any] = {"question": asking["question"]}
        row |= {"answers": asking["answers"]} if "answers" in asking else {}
        words = (
            worded("textvqa_val_ocr", {**row, "ocr_tokens": seen[image]["ocr_tokens"]})
            if ocr
            else worded("textvqa_val", row)
        )
        where = located(folder, image, *PLACES, endings=(".jpg", ".png"))
        yield Sample(str(asking["question_id"]), asked(words, where), row, source=image)

    yield from each(questions, made)


TEXTVQA = Benchmark(
    holds="TextVQA_0.5.1_val.json and pictures in train_images/",
    files=[[QUESTIONS]],
    split="val",
    read=read,
    score=lambda rows, parser: vqa(rows, parser=parser),
    parsers=("vqa@m4c", "vqa@official"),
    prompt=f"textvqa_val@{WORDING}",
)
TEXTVQA_OCR = Benchmark(
    holds="TextVQA_0.5.1_val.json, TextVQA_Rosetta_OCR_v0.2_val.json and pictures in train_images/",
    files=[[QUESTIONS, OCR]],
    split="val",
    read=read,
    score=lambda rows, parser: vqa(rows, parser=parser),
    parsers=("vqa@m4c", "vqa@official"),
    prompt=f"textvqa_val_ocr@{WORDING}",
)
