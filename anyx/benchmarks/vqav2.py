"""VQAv2's release: `v2_OpenEnded_mscoco_val2014_questions.json` and `v2_mscoco_val2014_annotations.json`, ten answers.

Pictures are COCO's, `val2014/COCO_val2014_000000000042.jpg`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks.folders import located, read_json
from anyx.benchmarks.samples import WORDING, Benchmark, Sample, each, question
from anyx.scoring.vqa import vqa


def read(folder: Path, files: Sequence[Path], split: str) -> Iterator[Sample]:
    """One sample a question; each is annotated."""
    questions, annotations = (read_json(file) for file in files)
    subset = questions["data_subtype"]
    known = {one["question_id"]: one for one in annotations["annotations"] if "question_id" in one}

    def made(asking: Mapping[str, Any]) -> Iterator[Sample]:
        said, image = known[asking["question_id"]], asking["image_id"]
        right = {
            "answers": [one["answer"] for one in said["answers"]],
            "answer_type": said["answer_type"],
            "question_type": said["question_type"],
        }
        name = f"COCO_{subset}_{image:012d}.jpg"
        where = located(folder, name, subset, "images", f"images/{subset}", "")
        yield question("vqav2_val", str(asking["question_id"]), asking["question"], where, right, source=str(image))

    yield from each(questions["questions"], made)


VQAV2 = Benchmark(
    holds="VQAv2's *questions.json and *annotations.json of one split, and COCO's pictures in val2014/",
    files=[["*questions.json", "*annotations.json"]],
    split="val",
    read=read,
    score=lambda rows, parser: vqa(rows, parser=parser),
    parsers=("vqa@official", "vqa@m4c"),
    prompt=f"vqav2_val@{WORDING}",
)
