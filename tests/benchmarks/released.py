"""Benchmarks as they are released, two or three samples each, around flat pictures of red, green and blue."""

from __future__ import annotations

import base64
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow
from PIL import Image as PILImage
from pyarrow import parquet
from seers import COLOURS


def png(colour: str) -> bytes:
    stream = io.BytesIO()
    PILImage.new("RGB", (8, 4), COLOURS[colour]).save(stream, "PNG")
    return stream.getvalue()


def put(path: Path, content: Any) -> None:
    """Text or bytes as they are, other things as JSON, the name of a colour as a picture (PNG, whatever the suffix)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str) and content in COLOURS:
        content = png(content)
    data = content if isinstance(content, str | bytes) else json.dumps(content)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def cell(colour: str) -> dict[str, Any]:
    return {"bytes": png(colour), "path": f"{colour}.png"}


def mme(folder: Path) -> None:
    """A picture in each of the release's two layouts, and results of a model, which are no questions."""
    asking = "Is it {}? Please answer yes or no.\t{}\n"
    put(folder / "existence/a.png", "red")
    put(folder / "existence/a.txt", asking.format("red", "Yes") + asking.format("blue", "No"))
    put(folder / "artwork/images/b.jpg", "blue")
    put(folder / "artwork/questions_answers_YN/b.txt", asking.format("red", "No") + asking.format("blue", "Yes"))
    put(folder / "eval_tool/Your_Results/existence.txt", "a.png\tIs it red?\tYes\n")


def mmbench(folder: Path) -> None:
    red, blue = (base64.b64encode(png(colour)).decode() for colour in ("red", "blue"))
    heads = ["index", "question", "hint", "A", "B", "C", "D", "answer", "category", "l2-category", "image", "split"]
    rows = [
        [
            "7",
            '"Which\ncolour?"',
            "Look.",
            "red",
            "green",
            "blue",
            "",
            "A",
            "colour",
            "attribute_reasoning",
            red,
            "dev",
        ],
        ["8", "And this?", "", "green", "blue", "", "", "B", "colour", "logic_reasoning", blue, "dev"],
    ]
    put(folder / "mmbench_dev_en.tsv", "".join("\t".join(row) + "\n" for row in (heads, *rows)))


def mmmu(folder: Path) -> None:
    bare: dict[str, Any] = {f"image_{place}": None for place in range(1, 8)}
    table(
        folder / "Art_Theory/validation-00000-of-00001.parquet",
        [
            bare
            | {"id": "validation_Art_Theory_1", "question": "Is <image 2> like <image 1>? See <image 2>."}
            | {"options": "['green', 'blue']", "answer": "B", "question_type": "multiple-choice"}
            | {"image_1": cell("red"), "image_2": cell("blue"), "image_3": cell("green")},
            bare
            | {"id": "validation_Art_Theory_2", "question": "How many in <image 1>?", "options": "[]"}
            | {"answer": "['3', 'three']", "question_type": "open", "image_1": cell("red")},
        ],
    )
    table(folder / "Art_Theory/test-00000-of-00001.parquet", [{"id": "test_Art_Theory_1"}])


def ten(right: str, other: str) -> list[str]:
    """Nine people say one thing, the tenth another."""
    return [right] * 9 + [other]


def vqav2(folder: Path) -> None:
    asked = [(70, 7, "What colour?"), (71, 7, "Which hue?"), (80, 8, "What colour?")]
    questions = [{"question_id": number, "image_id": image, "question": text} for number, image, text in asked]
    said = {7: ten("red", "dark red"), 8: ten("blue", "navy")}
    annotations = [
        {"question_id": number, "image_id": image, "answer_type": "other", "question_type": "what"}
        | {"answers": [{"answer": one, "answer_confidence": "yes"} for one in said[image]]}
        for number, image, _ in reversed(asked)
    ]
    put(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"data_subtype": "val2014", "questions": questions})
    put(folder / "v2_OpenEnded_mscoco_train2014_questions.json", {"data_subtype": "train2014", "questions": []})
    put(folder / "v2_mscoco_val2014_annotations.json", {"annotations": annotations})
    put(folder / "val2014/COCO_val2014_000000000007.jpg", "red")
    put(folder / "val2014/COCO_val2014_000000000008.jpg", "blue")


def textvqa(folder: Path) -> None:
    entry = {"question_id": 1, "image_id": "f0", "question": "what does it SAY?", "answers": ten("red", "stop")}
    put(folder / "TextVQA_0.5.1_val.json", {"data": [entry]})
    put(folder / "TextVQA_Rosetta_OCR_v0.2_val.json", {"data": [{"image_id": "f0", "ocr_tokens": ["RED", "7"]}]})
    put(folder / "train_images/f0.jpg", "red")


def vizwiz(folder: Path) -> None:
    said = [{"answer": one, "answer_confidence": "yes"} for one in ten("red", "dark red")]
    entry = {"image": "VizWiz_val_0.jpg", "question": "what is it", "answers": said, "answer_type": "other"}
    put(folder / "Annotations/val.json", [entry])
    put(folder / "val/VizWiz_val_0.jpg", "red")


def gqa(folder: Path) -> None:
    entries = {name: {"imageId": image, "question": f"{name}?", "answer": colour} for name, image, colour in GQA}
    put(folder / "questions1.2/testdev_balanced_questions.json", entries)
    for _, image, colour in GQA:
        put(folder / f"images/{image}.jpg", colour)


GQA = [("q1", "n1", "red"), ("q2", "n2", "blue")]


def docvqa(folder: Path) -> None:
    entry = {"questionId": 1, "question": "Which colour?", "image": "documents/p_1.png", "docId": 4}
    put(folder / "val_v1.0_withQT.json", {"data": [{**entry, "answers": ["RED", "crimson"]}]})
    put(folder / "documents/p_1.png", "red")


SCIENCE = {
    "1": {"question": "Which?", "choices": ["blue", "red"], "answer": 1, "hint": "Look.", "image": "image.png"},
    "2": {"question": "Why?", "choices": ["so", "thus"], "answer": 0, "hint": "", "image": None},
    "3": {"question": "Learnt?", "choices": ["a", "b"], "answer": 0, "hint": "", "image": None},
}


def scienceqa(folder: Path) -> None:
    splits = {"1": "test", "2": "test", "3": "train"}
    put(folder / "problems.json", {name: {**one, "split": splits[name]} for name, one in SCIENCE.items()})
    put(folder / "pid_splits.json", {"train": ["3"], "test": ["1", "2"]})
    put(folder / "test/1/image.png", "red")


def scienceqa_table(folder: Path) -> None:
    rows = [{**SCIENCE["1"], "image": cell("red")}, {**SCIENCE["2"], "image": None}]
    table(folder / "data/test-00000-of-00001.parquet", rows)
    table(folder / "data/train-00000-of-00001.parquet", [{"question": "Learnt?"}])


def pope(folder: Path) -> None:
    for category, absent in (("random", "blue"), ("popular", "green"), ("adversarial", "blue")):
        asked = [("red", "yes"), (absent, "no")]
        rows = [
            {"question_id": number, "image": "a.jpg", "text": f"Is there {colour} in the image?", "label": label}
            for number, (colour, label) in enumerate(asked, 1)
        ]
        put(folder / f"coco_pope_{category}.json", lines(*rows))
    put(folder / "val2014/a.jpg", "red")


def seedbench(folder: Path) -> None:
    choices = {"choice_a": "green", "choice_b": "red", "choice_c": "blue", "choice_d": "grey"}
    asked = {"question": "Which colour?", **choices}
    one = {**asked, "question_id": "101", "question_type_id": 1, "data_type": "image", "data_id": "9_9", "answer": "B"}
    two = {
        **asked,
        "question_id": "v2",
        "question_type_id": 10,
        "data_type": "video",
        "data_id": "c.mp4",
        "answer": "C",
    }
    types = {"Scene Understanding": 1, "Action Recognition": 10}
    put(folder / "SEED-Bench.json", {"question_type": types, "questions": [one, two]})
    put(folder / "SEED-Bench-image/9_9", "red")
    put(folder / "SEED-Bench-video-image/10_v2.png", "blue")


REFERRING = {"question_id": "5", "answer": ["the red one", "left"], "bbox": [2.0, 1.0, 4.0, 2.0], "file_name": "a.jpg"}


def refcoco(folder: Path) -> None:
    table(folder / "data/val-00000-of-00001.parquet", [{**REFERRING, "image": cell("red")}])


def refcoco_json(folder: Path) -> None:
    put(folder / "refcoco_val.json", [REFERRING])
    put(folder / "images/a.jpg", "red")


def refcoco_refer(folder: Path) -> None:
    """As REFER has it, by two ways to split; pickled as Python 2 wrote it, without a class of anybody's."""
    refs = [
        {"ref_id": 7, "ann_id": 3, "image_id": 5, "split": "val"}
        | {"sentences": [{"sent": "the red one", "raw": "The red one"}, {"sent": "left", "raw": "Left"}]},
        {"ref_id": 8, "ann_id": 4, "image_id": 5, "split": "testA", "sentences": [{"sent": "all of it"}]},
    ]
    put(folder / "refs(unc).p", pickle.dumps(refs, 2))
    put(folder / "refs(google).p", pickle.dumps(refs[1:], 2))
    boxes = [{"id": 3, "bbox": [2.0, 1.0, 4.0, 2.0]}, {"id": 4, "bbox": [0, 0, 8, 4]}]
    picture = {"id": 5, "file_name": "COCO_train2014_000000000005.jpg", "width": 8, "height": 4}
    put(folder / "instances.json", {"images": [picture], "annotations": boxes})
    put(folder / "images/train2014/COCO_train2014_000000000005.jpg", "red")


CAPTIONS = {1: ["a red square", "one red square"], 2: ["a blue square on a wall", "the blue square"]}


def coco(folder: Path) -> None:
    put_captions(folder, "captions_val2017.json", "val2017", {})
    put(folder / "captions_train2017.json", {"images": [], "annotations": []})


def nocaps(folder: Path) -> None:
    put_captions(folder, "nocaps_val_4500_captions.json", "images", {1: "in-domain", 2: "out-domain"})


def put_captions(folder: Path, name: str, place: str, domains: dict[int, str]) -> None:
    images = [
        {"id": image, "file_name": f"{image}.jpg"} | ({"domain": domains[image]} if domains else {})
        for image in CAPTIONS
    ]
    said = [{"image_id": image, "caption": text} for image, some in CAPTIONS.items() for text in some]
    put(folder / name, {"images": images, "annotations": said})
    for image, colour in ((1, "red"), (2, "blue")):
        put(folder / place / f"{image}.jpg", colour)


def flickr30k(folder: Path) -> None:
    images = [
        {"imgid": image, "filename": f"{image}.jpg", "split": "test", "sentences": [{"raw": text} for text in some]}
        for image, some in CAPTIONS.items()
    ]
    put(folder / "dataset_flickr30k.json", {"images": [*images, {"split": "train"}]})
    for image, colour in ((1, "red"), (2, "blue")):
        put(folder / f"flickr30k-images/{image}.jpg", colour)


def llava_bench(folder: Path) -> None:
    asked = [(0, "a.jpg", "conv", "Which {colour}?"), (1, "a.jpg", "detail", "Tell all."), (2, "b.jpg", "conv", "Eh?")]
    rows = [{"question_id": n, "image": image, "category": kind, "text": text} for n, image, kind, text in asked]
    put(folder / "questions.jsonl", lines(*rows))
    described = [{"id": "001", "image": "a.jpg", "caption": "A red square."}, {"image": "b.jpg", "caption": ["Blue."]}]
    put(folder / "context.jsonl", lines(*described))
    put(folder / "answers_gpt4.jsonl", lines(*({"question_id": n, "text": f"Said {n}."} for n in range(3))))
    put(folder / "images/a.jpg", "red")
    put(folder / "images/b.jpg", "blue")


def mm_vet(folder: Path) -> None:
    asked = {
        "v1_0": {"imagename": "v1_0.png", "question": "x?", "answer": "red <AND> 5", "capability": ["ocr", "math"]},
        "v1_1": {"imagename": "v1_1.png", "question": "y?", "answer": "blue", "capability": ["ocr"]},
    }
    put(folder / "mm-vet.json", asked)
    put(folder / "images/v1_0.png", "red")
    put(folder / "images/v1_1.png", "blue")
