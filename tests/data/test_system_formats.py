"""The systems' own formats: what is read of a good row; a bad one is skipped with a count, or raised if `strict`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyx import yamls
from anyx.commands import main
from anyx.config import check
from anyx.data.native import Tally, open_source, records_of
from anyx.data.sources import SOURCES
from anyx.media import Image

PICTURES = Path(__file__).parents[2] / "experiments" / "llava" / "data"
SYSTEMS = Path(__file__).parents[2] / "experiments" / "systems"
SWAN, SHEEP = (PICTURES / f"{name}.webp" for name in ("swan", "sheep"))


def said(record: dict[str, Any]) -> str:
    """A record in a line: <file> where media stand, | between turns."""
    turns = []
    for message in record["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        names = [p["text"] if "text" in p else f"<{Path(p['path']).name if 'path' in p else 'bytes'}>" for p in parts]
        turns.append(f"{message['role'][0]}: {''.join(names)}")
    return " | ".join(turns)


def lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def mimic(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Two pictures, one of them cut short, and instructions of which one names a picture that is not there."""
    items = {
        "DC_1": {"instruction": "What is it?", "answer": "A swan.", "image_ids": ["IMG_1"], "rel_ins_ids": ["DC_2"]},
        "DC_2": {"instruction": "And this?", "answer": "Two.", "image_ids": ["IMG_1", "IMG_2"], "rel_ins_ids": []},
        "DC_3": {"instruction": "And?", "answer": "No.", "image_ids": ["IMG_9"], "rel_ins_ids": []},
        "DC_4": {"instruction": "Hm?", "answer": "No.", "image_ids": ["IMG_3"], "rel_ins_ids": []},
    }
    (folder / "DC_instructions.json").write_text(json.dumps({"meta": {"version": "0.0.1"}, "data": items}))
    pictures = {"IMG_1": encoded(SWAN), "IMG_2": encoded(SHEEP), "IMG_3": "abc"}
    (folder / "DC.json").write_text(json.dumps(pictures).replace("/", "\\/"))
    (folder / "DC_train.json").write_text(json.dumps({"DC_1": ["DC_2", "DC_2"], "DC_3": [], "DC_4": [], "DC_7": []}))
    return folder / "DC_instructions.json", {"images": str(folder / "DC.json"), "train": str(folder / "DC_train.json")}


def owl(folder: Path) -> tuple[Path, dict[str, Any]]:
    lead = "The following is a conversation.\nHuman: <image>\nHuman: "
    rows = [
        {"image": ["swan.webp"], "text": f"{lead}What is it?\nAI: A swan.\nHuman: Sure?\nAI: Yes,\nit is."},
        {"image": [], "text": "Human: Hello!\nAI: Hi.", "task_type": "gpt4instruct_sft"},
        {"image": ["swan.webp", "sheep.webp"], "text": f"{lead}What?\nAI: A swan.", "task_type": "x"},
        {"image": [], "text": f"{lead}What?\nAI: A swan.", "task_type": "x"},
        {"image": ["gone.webp"], "text": f"{lead}What?\nAI: A swan.", "task_type": "x"},
        "{",
    ]  # fmt: skip
    return lines(folder / "owl.jsonl", rows), {"root": str(PICTURES)}


def mmc4(folder: Path) -> tuple[Path, dict[str, Any]]:
    def info(name: str, place: int, near: float) -> dict[str, Any]:
        return {"image_name": name, "raw_url": "", "matched_text_index": place, "matched_sim": near}

    page = ["One.", "Two.", "Three.", "Four."]
    rows = [
        {"text_list": page, "image_info": [info("sheep.webp", 3, 0.3), info("swan.webp", 1, 0.24), info("x", 0, 0.2)]},
        {"text_list": page, "image_info": [info("swan.webp", 0, 0.5) for _ in range(8)]},
        {"text_list": page, "image_info": [info("swan.webp", 0, 0.1)]},
        {"text_list": page, "image_info": [info("swan.webp", 4, 0.5)]},
        {"text_list": page},
    ]  # fmt: skip
    return lines(folder / "shard.jsonl", rows), {"root": str(PICTURES)}


def cogvlm(folder: Path) -> tuple[Path, dict[str, Any]]:
    talk = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A swan."}]
    files = {"1": {"conversations": talk}, "2": {"captions": ["A sheep."]}, "3": {"conversations": talk}, "4": {}}
    place = folder / "sft"
    place.mkdir()
    for name, row in files.items():
        (place / f"{name}.json").write_text(json.dumps(row))
    for name, picture in (("1", SWAN), ("2", SHEEP), ("4", SWAN)):
        (place / f"{name}.webp").write_bytes(picture.read_bytes())
    (place / "5.json").write_text("{")
    return place, {}


def qwen(folder: Path) -> tuple[Path, dict[str, Any]]:
    place = "<ref>the swan</ref><box>(10,20),(300,400)</box>"
    values = [
        ["Picture 1: <img>swan.webp</img>\nPicture 2: <img>sheep.webp</img>\nWhere is the swan?", place],
        ["Hello!", "Hi."],
        ["Draw it.", "Picture 1: <img>swan.webp</img>\n"],
        ["Picture 1: <img></img>\nWhat?", "A swan."],
    ]
    voices = ("user", "assistant")
    rows = [
        {"id": f"q{i}", "conversations": [{"from": who, "value": x} for who, x in zip(voices, pair, strict=True)]}
        for i, pair in enumerate(values)
    ]
    (folder / "qwen.json").write_text(json.dumps(rows))
    return folder / "qwen.json", {"root": str(PICTURES)}


def lamm(folder: Path) -> tuple[Path, dict[str, Any]]:
    np.save(folder / "room.npy", np.zeros((3, 20), np.float32))
    (folder / "swan.webp").write_bytes(SWAN.read_bytes())

    def row(**given: Any) -> dict[str, Any]:
        talk = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "[0.10, 0.20, 0.50, 0.60]"}]
        return {"id": "1", "conversations": talk, "task_type": "detection"} | given

    talk = [{"from": "human", "value": "<pcl>\nWhat?"}, {"from": "gpt", "value": "A chair."}]
    rows = [
        row(image="swan.webp"),
        row(pcl="room.npy", conversations=talk, task_type="VQA3D"),
        row(),
        row(image="swan.webp", conversations=talk[1:]),
        row(image="gone.webp"),
    ]
    (folder / "lamm.json").write_text(json.dumps(rows))
    return folder / "lamm.json", {"systems": {"detection": "Give boxes."}}


def macaw(folder: Path) -> tuple[Path, dict[str, Any]]:
    given = {"instruction": "What is it?", "input": "", "output": "A swan.", "image": "swan.webp"}
    rows = [
        given,
        given | {"input": "Be short.", "image": ["swan.webp"]},
        {"instruction": "Hello!", "input": "", "output": "Hi.", "image": None, "video": ""},
        given | {"output": ""},
        {"instruction": "x", "image": "swan.webp"},
    ]
    (folder / "macaw.json").write_text(json.dumps(rows))
    return folder / "macaw.json", {"root": str(PICTURES)}


PAIRED = (
    "s: Below is an instruction that describes a task, paired with an input that provides further context. Write a "
)
PAIRED += "response that appropriately completes the request. | "
CASES: dict[str, tuple[Any, list[str], int, str]] = {  # what makes the file, what is read, what is skipped, a reason
    "mimic_it": (
        mimic,
        [2 * "u: <bytes><bytes>And this? | a: Two. | " + "u: <bytes>What is it? | a: A swan."],
        3,
        "has no picture 'IMG_9'",
    ),
    "mplug_owl": (
        owl,
        [
            "s: The following is a conversation. | u: <swan.webp>What is it? | a: A swan. | u: Sure? | a: Yes,\nit is.",
            "u: Hello! | a: Hi.",
        ],
        4,
        "are marked nowhere",
    ),
    "mmc4": (
        mmc4,
        [
            "a: One. | u: <swan.webp> | a: Two. Three. | u: <sheep.webp> | a: Four.",
            f"u: {6 * '<swan.webp>'} | a: One. Two. Three. Four.",
        ],
        3,
        "0 pictures at [] of 4 sentences",
    ),
    "cogvlm": (cogvlm, ["u: <1.webp>What is it? | a: A swan.", "u: <2.webp>Describe this. | a: A sheep."], 3, "3.jpg|"),
    "qwen_vl": (
        qwen,
        [
            "u: <swan.webp><sheep.webp>Where is the swan? | a: <ref>the swan</ref><box>(10,20),(300,400)</box>",
            "u: Hello! | a: Hi.",
        ],
        2,
        "in a turn of the assistant",
    ),
    "lamm": (
        lamm,
        ["s: Give boxes. | u: <swan.webp>Where? | a: [0.10, 0.20, 0.50, 0.60]", "u: <room.npy>What? | a: A chair."],
        3,
        "it names no image and no pcl",
    ),
    "macaw": (
        macaw,
        [
            "u: <swan.webp>What is it? | a: A swan.",
            PAIRED + "u: <swan.webp>What is it?\n\n### Input:\nBe short. | a: A swan.",
            "u: Hello! | a: Hi.",
        ],
        2,
        "the turn of assistant is empty",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_format(kind: str, tmp_path: Path) -> None:
    make, wanted, skipped, reason = CASES[kind]
    path, options = make(tmp_path)
    tally, source = Tally(), open_source(kind, path, options)
    assert [said(record) for record in records_of(source, tally)] == wanted
    assert tally.skipped == skipped
    assert any(reason in told for told in tally.told), tally.told
    with pytest.raises(ValueError, match=r"row \d|missing"):
        list(records_of(source, Tally(), strict=True))
    assert kind in SOURCES


def test_mimic_it_s_pictures(tmp_path: Path) -> None:
    """They are the bytes of the files; without `train` related instructions come first, `shots` of them at most."""
    path, options = mimic(tmp_path)
    images = {"images": options["images"]}
    record = open_source("mimic_it", path, images)[0]
    assert said(record) == "u: <bytes><bytes>And this? | a: Two. | u: <bytes>What is it? | a: A swan."
    first, second, _ = record["messages"][0]["content"]
    assert (Image.read(first["media"]).size, second["media"]) == (Image.read(SWAN).size, SHEEP.read_bytes())
    assert said(open_source("mimic_it", path, images | {"shots": 0})[0]) == "u: <bytes>What is it? | a: A swan."
    with pytest.raises(ValueError, match=r"images: .*DC.parquet is no .json file of pictures in base64"):
        open_source("mimic_it", path, {"images": str(tmp_path / "DC.parquet")})
    with pytest.raises(ValueError, match=r"a mapping is needed, but a list was found"):
        open_source("mimic_it", lines(tmp_path / "x.json", [[]]), images)


def test_what_is_read_cannot_be_meant_otherwise(tmp_path: Path) -> None:
    """One caption is no list of letters; numbers of examples and of pictures are none below what they may be."""
    (tmp_path / "one.json").write_text(json.dumps({"captions": "A swan."}))
    (tmp_path / "one.jpg").write_bytes(SWAN.read_bytes())
    assert said(open_source("cogvlm", tmp_path, {})[0]) == "u: <one.jpg>Describe this. | a: A swan."
    for system, data, wrong in (
        ("otter", "instructions", {"shots": -1}),
        ("openflamingo", "pages", {"most": 0}),
    ):
        raw = yamls.read(SYSTEMS / f"{system}.yaml")
        raw["data"][data] |= wrong
        with pytest.raises(
            ValueError, match=rf"data\.{data}\.{next(iter(wrong))}: must be int >= [01].*, but -?[01] was given"
        ):
            check(raw)


def test_mimic_it_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`anyx data convert` writes pictures to a folder, counts what is bad, and stops at it with --strict."""
    path, options = mimic(tmp_path)
    given = [str(path), str(tmp_path / "out.jsonl"), f"images={options['images']}", f"unpack={tmp_path / 'pictures'}"]
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", "mimic_it", *given])
    assert ended.value.code == 0, capsys.readouterr().err
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "pictures" / "IMG_1.jpg").read_bytes() == SWAN.read_bytes()
    with pytest.raises(SystemExit) as ended:
        main(["data", "convert", "mimic_it", *given, "--strict"])
    assert ended.value.code
