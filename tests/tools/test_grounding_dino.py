"""Grounding DINO by a random one of transformers' own class: held against its processor, and a word's place by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tools import grounding_dino, picture

from anyx.media import Image
from anyx.scoring.boxes import iou
from anyx.tools.grounding_dino import cut, written
from anyx.tools.loading import detector

ALL = {"threshold": 0.0, "text_threshold": 0.0, "area": 0.0, "overlap": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grounding_dino(tmp_path_factory.mktemp("dino"))


@pytest.fixture(scope="module")
def image() -> Image:
    return picture(120, 90, (10, 10, 50, 60), (70, 20, 110, 80))


def test_boxes_and_scores_are_transformers_own(folder: Path, image: Image) -> None:
    """Every query gives a box; the same boxes with the same scores come of the processor's own reading."""
    found = detector(str(folder), ALL)(image, ["dog", "traffic light"])
    tool: Any = detector(str(folder), ALL)
    given = tool.processor(images=image.to_pil(), text="dog. traffic light.", return_tensors="pt")
    with torch.no_grad():
        outputs = tool.model(**given)
    (theirs,) = tool.processor.post_process_grounded_object_detection(
        outputs, given["input_ids"], threshold=0.0, text_threshold=0.0, target_sizes=[(90, 120)]
    )
    order = theirs["scores"].argsort(descending=True, stable=True)
    assert len(found) == len(theirs["scores"]) == 12
    assert [one.score for one in found] == pytest.approx(theirs["scores"][order].tolist())
    for one, box in zip(found, theirs["boxes"][order].tolist(), strict=True):
        assert one.box == pytest.approx(cut(tuple(box), image), abs=1e-3)
    # tokens: [CLS] dog . traffic light . [SEP]: the word is the better of token 1 and of the better of tokens 3 and 4
    chances = outputs.logits[0].sigmoid()[order]
    wanted = ["dog" if row[1] >= max(row[3], row[4]) else "traffic light" for row in chances]
    assert [one.word for one in found] == wanted


def test_what_is_found_is_in_range_and_the_same_again(folder: Path, image: Image) -> None:
    tool = detector(str(folder), ALL)
    found = tool(image, ["dog", "cat", "bus", "dog", " "])
    assert found == tool(image, ["dog", "cat", "bus"])
    assert {one.word for one in found} <= {"dog", "cat", "bus"}
    assert all(0 <= x0 <= x1 <= 120 and 0 <= y0 <= y1 <= 90 for x0, y0, x1, y1 in (one.box for one in found))
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    assert 0 < found[-1].score <= found[0].score < 1
    assert tool(image, []) == []


def test_limits(folder: Path, image: Image) -> None:
    every = detector(str(folder), ALL)(image, ["dog", "cat"])
    middle = (every[5].score + every[6].score) / 2
    fewer = detector(str(folder), {**ALL, "threshold": middle})(image, ["dog", "cat"])
    assert fewer == every[:6]
    assert detector(str(folder), {**ALL, "text_threshold": 1.0})(image, ["dog", "cat"]) == []


def test_a_name_tells_all_that_boxes_depend_on(folder: Path, tmp_path: Path) -> None:
    """Results of a detector are kept by its name: other weights in a folder of the same name, other limits."""
    name = detector(str(folder)).name
    assert re.fullmatch(rf"{folder.name}#[0-9a-f]{{8}}@0\.35/0\.25/0\.001/0\.95", name)
    assert detector(str(folder)).name == name
    others = [{"threshold": 0.3}, {"text_threshold": 0.3}, {"area": 0.1}, {"overlap": 0.5}]
    assert len({name, *(detector(str(folder), one).name for one in others)}) == 5
    tool: Any = detector(str(folder))
    torch.nn.init.zeros_(next(tool.model.parameters()))
    tool.model.save_pretrained(tmp_path / folder.name)
    tool.processor.save_pretrained(tmp_path / folder.name)
    assert detector(str(tmp_path / folder.name)).name != name


def test_boxes_that_overlap_and_small_ones(folder: Path, image: Image) -> None:
    """With heads that are moved to boxes of about half the picture many overlap, and those at the edges are cut."""
    tool: Any = detector(str(folder), ALL)
    for head in tool.model.bbox_embed:
        torch.nn.init.constant_(head.layers[-1].bias[2:], 1.5)
    every = tool(image, ["dog", "cat"])
    tool.overlap = 0.2
    apart = tool(image, ["dog", "cat"])
    pairs = [(one, other) for one in apart for other in apart if one != other and one.word == other.word]
    assert 0 < len(apart) < len(every) == 12
    assert all(iou(one.box, other.box) <= 0.2 for one, other in pairs)
    assert apart[0] == every[0], "the surer one stays"
    tool.overlap, shares = 1.0, [(x1 - x0) * (y1 - y0) / (120 * 90) for x0, y0, x1, y1 in (one.box for one in every)]
    tool.area = sorted(shares)[6]
    assert tool(image, ["dog", "cat"]) == [one for one, share in zip(every, shares, strict=True) if share >= tool.area]


def test_many_words_are_asked_in_groups(folder: Path, image: Image) -> None:
    """`max_text_len` 5 holds [CLS], a word, a full stop, [SEP], no second word and its stop: each is asked alone."""
    tool: Any = detector(str(folder), ALL)
    alone = [one for word in ("dog", "cat") for one in tool(image, [word])]
    tool.model.config.max_text_len = 5
    assert tool(image, ["dog", "cat"]) == sorted(alone, key=lambda one: -one.score)


def test_the_text_and_the_places_of_words() -> None:
    assert written(["Dog", "traffic light."]) == ("dog. traffic light.", [(0, 3), (5, 18)])


def test_what_cannot_be_loaded(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"threshold: 2\.0 given; it is from 0 to 1"):
        detector(str(folder), {"threshold": 2.0})
    with pytest.raises(ValueError, match=r"detector\.treshold.*threshold"):
        detector(str(folder), {"treshold": 0.2})
    with pytest.raises(ValueError, match=r"is neither module:Class nor has a config\.json"):
        detector(str(tmp_path))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            (pickled / file.name).write_bytes(file.read_bytes())
    bare: Any = detector(str(folder))
    torch.save(bare.model.state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"cannot be loaded: .*safetensors"):
        detector(str(pickled))
