"""MiniGPT-v2's third stage with tiny parts, on a row or two of every format of its mixture."""

from __future__ import annotations

import csv
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from anyx import AnyX, yamls
from anyx.config import check, load
from anyx.data.sources import feed
from anyx.media import Image
from anyx.training.run import train

FOLDER = Path(__file__).parents[2] / "experiments" / "minigpt_v2"
RATIOS = {  # reference sheet 1.5
    **dict.fromkeys(("llava_reason", "flickr_grounded", "flickr_caption", "flickr_phrase"), 80),
    **dict.fromkeys(("multitask", "gqa"), 50),
    "refvg": 40,
    **dict.fromkeys(("ocrvqa", "textcaps", "llava_conversation"), 30),
    **dict.fromkeys(("refcoco", "refcoco_plus", "refcocog"), 25),
    "llava_detail": 20,
    "coco_vqa": 15,
    "aok_vqa": 12,
    **dict.fromkeys(("invrefcoco", "invrefcoco_plus", "invrefcocog", "coco_caption", "unnatural"), 10),
    "ok_vqa": 8,
}
PLACE = "{<10><20><50><60>}"
REF = {"ref_id": 7, "ann_id": 3, "image_id": 1, "split": "train", "sentences": [{"sent": "left dog"}]}
TALK = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "a dog"}]
ROWS: dict[str, Any] = {  # by the type of the source; one row serves every form of `grounded`
    "llava": [{"id": "1", "image": "1.jpg", "conversations": TALK}],
    "grounded": [{"image_id": 1, "grounded_caption": f"<p>a dog</p> {PLACE} runs"}],
    "answers": [{"question": "what is it?", "answer": ["dog"], "image": "1.jpg"}],
    "genome": [{"id": 1, "regions": [{"x": 2, "y": 2, "width": 8, "height": 4, "phrase": "a dog"}]}],
    "refer": [REF],
    "captions": [{"image": "1.jpg", "caption": "a dog"}],
    "alpaca": [{"instruction": "Say dog.", "input": "", "output": "dog"}],
}
BESIDE = {
    "images": [{"image_id": 1, "width": 20, "height": 10, "url": "https://x/files/1.jpg"}],
    "instances": {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 20, "height": 10}],
        "annotations": [{"id": 3, "bbox": [2, 2, 8, 4]}],
    },
}


def small(folder: Path) -> dict[str, Any]:
    """The tiny YAML with every file of its data replaced by one of a row."""
    media = folder / "files"
    Image(torch.randint(0, 255, (3, 10, 20), dtype=torch.uint8)).save(media / "1.jpg")
    raw = yamls.read(FOLDER / "tiny.yaml")
    for name, node in raw["data"].items():
        path = folder / f"{name}{Path(node['path']).suffix}"
        rows = ROWS[node["type"]]
        path.write_bytes(pickle.dumps(rows) if path.suffix == ".p" else json.dumps(rows).encode())
        node["path"] = str(path)
        for key in BESIDE.keys() & node.keys():
            node[key] = str(folder / f"{key}.json")
            Path(node[key]).write_text(json.dumps(BESIDE[key]))
        if "root" in node:
            node["root"] = str(folder if node["type"] == "genome" else media)
    raw["stages"]["stage3"] |= {
        "steps": 30,
        "batch_size": 4,
        "accumulate": 1,
        "warmup": 2,
        "workers": 0,
        "log_every": 1,
    }
    raw["stages"]["stage3"]["train"] = dict.fromkeys(raw["stages"]["stage3"]["train"], 1e-2)
    return raw


def test_the_published_ratios() -> None:
    stage = load(FOLDER / "experiment.yaml").stages["stage3"]
    assert stage.data == RATIOS
    assert stage.batch_size * stage.accumulate == 24
    assert set(stage.train) == {"llm.lora", "inputs.*.projector"}
    assert set(stage.train.values()) == {1e-5}
    assert (stage.steps, stage.warmup, stage.weight_decay) == (50_000, 1000, 0.05)


def test_every_source_reads_its_rows(tmp_path: Path) -> None:
    for name, node in small(tmp_path)["data"].items():
        record = feed(name, node).source[0]
        assert [message["role"] for message in record["messages"]] == ["user", "assistant"], name
        said = " ".join(part["text"] for message in record["messages"] for part in message["content"] if "text" in part)
        boxed = name.startswith(("ref", "inv", "flickr"))
        assert (PLACE in said) == boxed, name


def test_a_small_one_learns_and_answers(tmp_path: Path) -> None:
    folder = train(check(small(tmp_path)), out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    learnt = load_file(folder / "stage3" / "final.safetensors")
    assert {name.split(".")[0] for name in learnt} == {"llm", "inputs"}
    assert all(float(x.abs().sum()) > 0 for name, x in learnt.items() if "lora_B" in name)
    with (folder / "metrics.csv").open(newline="") as file:
        losses = [float(row["text"]) for row in csv.DictReader(file) if row.get("text")]
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.98 * sum(losses[:5])
    model = AnyX.from_pretrained(folder)
    content = [{"type": "image", "path": str(tmp_path / "files" / "1.jpg")}, {"type": "text", "text": "[vqa] what?"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=3).keys in (["text"], [])
