"""Sets about places in pictures: a few rows of each, in the form they were released in."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from anyx.data.sources import feed

REFS = [
    {"ref_id": 7, "ann_id": 3, "image_id": 5, "split": "train", "sentences": [{"sent": "left dog"}, {"sent": "it"}]},
    {"ref_id": 8, "ann_id": 4, "image_id": 5, "split": "val", "sentences": [{"sent": "a cow"}]},
]
INSTANCES = {
    "images": [{"id": 5, "file_name": "COCO_train2014_5.jpg", "width": 200, "height": 100}],
    "annotations": [{"id": 3, "bbox": [20, 20, 80, 40]}, {"id": 4, "bbox": [0, 0, 1, 1]}],
}
BOXES = {"type": "minigpt_v2"}
PLACE = "{<10><20><50><60>}"


def written(folder: Path, name: str, value: Any) -> str:
    path = folder / name
    path.write_bytes(pickle.dumps(value, 2) if path.suffix == ".p" else json.dumps(value).encode())
    return str(path)


def turns(record: dict[str, Any]) -> tuple[str, str, str]:
    """The picture's name, the words asked, the answer."""
    (picture, words), (answer,) = (message["content"] for message in record["messages"])
    assert picture["type"] == "image"
    return Path(picture["path"]).name, words["text"], answer["text"]


@pytest.mark.parametrize("name", ["refs(unc).p", "refs.json"])
def test_refcoco_in_both_directions(tmp_path: Path, name: str) -> None:
    node = {"type": "refer", "path": written(tmp_path, name, REFS), "boxes": BOXES}
    node["instances"] = written(tmp_path, "instances.json", INSTANCES)
    source = feed("refcoco", node).source
    assert len(source) == 1, "the other is of the split val"
    picture, asked, answer = turns(source[0])
    assert (picture, answer) == ("COCO_train2014_5.jpg", PLACE)
    assert asked.startswith("[refer] ")
    assert "left dog" in asked or "it" in asked
    picture, asked, answer = turns(feed("inverse", node | {"direction": "identify"}).source[0])
    assert asked.startswith("[identify] ")
    assert PLACE in asked
    assert answer in ("left dog", "it")
    other = feed("qwen", node | {"boxes": {"type": "qwen_vl"}, "prompts": ["{}"]}).source[0]
    assert turns(other)[2] == "<box>(100,200),(500,600)</box>"
    with pytest.raises(ValueError, match=r"data.x: direction: 'where' is not one of refer, identify"):
        feed("x", node | {"direction": "where"})


def test_a_bad_row_costs_itself_alone(tmp_path: Path) -> None:
    """A picture without regions or sides, a box turned inside out, a phrase of nothing: seen in the true files."""
    box = {"x": 20, "y": 20, "width": 80, "height": 40, "phrase": "a dog"}
    rows = [[], [box | {"height": -4}], [box | {"phrase": " "}], [box]]
    genome = [{"id": 1, "regions": regions} for regions in rows] + [{"id": 2, "regions": [box]}]
    pictures = [
        {"image_id": number, "url": "VG_100K/1.jpg", "width": 200 * (2 - number), "height": 100} for number in (1, 2)
    ]
    node = {"type": "genome", "path": written(tmp_path, "regions.json", genome), "boxes": BOXES}
    source = feed("vg", node | {"images": written(tmp_path, "images.json", pictures)}).source
    assert turns(source[3])[2] == PLACE
    for index in (0, 1, 2, 4):
        with pytest.raises(ValueError, match=f"row {index}"):
            source[index]


def test_files_of_another_form_are_named(tmp_path: Path) -> None:
    refs, instances = written(tmp_path, "refs.json", REFS), written(tmp_path, "instances.json", INSTANCES)
    node = {"type": "refer", "path": refs, "instances": instances, "boxes": BOXES}
    with pytest.raises(ValueError, match="split: 'testA' is not one of train, val"):
        feed("x", node | {"split": "testA"})
    with pytest.raises(ValueError, match=r"refs\.json: 'annotations', a list, of rows with id and bbox is needed"):
        feed("x", node | {"instances": refs})
    with pytest.raises(ValueError, match=r"instances\.json: a list of rows with split is needed"):
        feed("x", node | {"path": instances})
    with pytest.raises(ValueError, match="'annotations', a list, of rows with image_id and caption is needed"):
        feed("x", {"type": "minigpt4", "path": instances})
    with pytest.raises(ValueError, match=r"boxes\.grid: Key 'grid' not in 'MiniGPTCodec'"):
        feed("x", node | {"boxes": BOXES | {"grid": 3}})


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path) -> None:
    node = {"type": "refer", "path": written(tmp_path, "refs(unc).p", [Path("/")]), "boxes": BOXES}
    node["instances"] = written(tmp_path, "instances.json", INSTANCES)
    with pytest.raises(ValueError, match=r"it names pathlib.* lists, mappings, texts and numbers only"):
        feed("refcoco", node)


def test_visual_genome(tmp_path: Path) -> None:
    region = {"region_id": 1, "x": 20, "y": 20, "width": 80, "height": 40, "phrase": "a dog that runs", "image_id": 9}
    images = [{"image_id": 9, "width": 200, "height": 100, "url": "https://cs.stanford.edu/rak248/VG_100K_2/9.jpg"}]
    node = {"type": "genome", "path": written(tmp_path, "region_descriptions.json", [{"id": 9, "regions": [region]}])}
    node |= {"images": written(tmp_path, "image_data.json", images), "boxes": BOXES, "root": str(tmp_path)}
    record = feed("refvg", node).source[0]
    assert record["messages"][0]["content"][0]["path"] == str(tmp_path / "VG_100K_2" / "9.jpg")
    picture, asked, answer = turns(record)
    assert (picture, answer) == ("9.jpg", PLACE)
    assert "a dog that runs" in asked


@pytest.mark.parametrize(
    ("row", "tag", "answer"),
    [
        ({"image_id": 1, "grounded_caption": f"<p>it</p> {PLACE} runs"}, "[grounding]", f"<p>it</p> {PLACE} runs"),
        ({"image_id": 1, "caption": "a dog runs", "output": f"<p>a dog</p> {PLACE}"}, "[detection] a dog runs",
         f"<p>a dog</p> {PLACE}"),
        ({"image_id": 1, "phrase": "a dog", "bbox": f"{PLACE}<delim>{PLACE}"}, "[detection] a dog",
         f"<p>a dog</p> {PLACE}<delim>{PLACE}"),
    ],
)  # fmt: skip
def test_flickr_in_three_forms(tmp_path: Path, row: dict[str, Any], tag: str, answer: str) -> None:
    source = feed("flickr", {"type": "grounded", "path": written(tmp_path, "rows.json", [row])}).source
    picture, asked, told = turns(source[0])
    assert (picture, told) == ("1.jpg", answer)
    assert asked.startswith(tag)


def test_short_answers_and_minigpt_4_s_captions(tmp_path: Path) -> None:
    rows = [
        {"question": "what is it?", "answer": ["cow", "dog", "dog"], "image": "a.jpg"},
        {"question": "what is it?", "answer": "cow", "image": "a.jpg"},
        {"question": "what is it?", "direct_answers": ["cow"], "image": "a.jpg"},
        {"question": "what is it?", "image": "a.jpg"},
    ]
    source = feed("vqa", {"type": "answers", "path": written(tmp_path, "vqa.json", rows)}).source
    assert [turns(source[index])[2] for index in range(3)] == ["dog", "cow", "cow"]
    assert turns(source[0])[1].startswith("[vqa] ")
    assert turns(source[0])[1].endswith("what is it?")
    with pytest.raises(ValueError, match="row 3"):
        source[3]
    captions = {"annotations": [{"image_id": "12", "caption": "A dog."}]}
    aligned = feed("cc", {"type": "minigpt4", "path": written(tmp_path, "filter_cap.json", captions)}).source
    assert turns(aligned[0])[::2] == ("12.jpg", "A dog.")
