"""SAM by a random one of transformers' own class: held against its processor's masks and its filter of masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_tools import grounding_dino, picture, sam

from anyx.media import Image
from anyx.scoring.boxes import iou
from anyx.tools.loading import segmenter
from anyx.tools.sam import bounds, grid, stabilities

BOXES = [(10.0, 10.0, 50.0, 60.0), (70.0, 20.0, 110.0, 80.0), (0.0, 0.0, 120.0, 90.0)]
ALL = {"side": 3, "quality": -1e9, "stability": -1.0, "overlap": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def image() -> Image:
    return picture(120, 90, (10, 10, 50, 60), (70, 20, 110, 80))


def test_one_mask_a_box_as_transformers_makes_them(folder: Path, image: Image) -> None:
    tool: Any = segmenter(str(folder))
    masks = tool(image, BOXES)
    assert (masks.shape, masks.dtype) == ((3, 90, 120), torch.bool)
    assert torch.equal(masks, segmenter(str(folder))(image, BOXES))
    given = tool.processor(images=image.to_pil(), input_boxes=[[list(box) for box in BOXES]], return_tensors="pt")
    sizes = given.pop("original_sizes"), given.pop("reshaped_input_sizes")
    given["input_boxes"] = given["input_boxes"].float()
    with torch.no_grad():
        outputs = tool.model(**given, multimask_output=True)
    (theirs,) = tool.processor.post_process_masks(outputs.pred_masks, *sizes)
    for number, best in enumerate(outputs.iou_scores[0].argmax(1).tolist()):
        assert torch.equal(masks[number], theirs[number, best])
    assert tool(image, []).shape == (0, 90, 120)


def test_masks_of_the_whole_picture(folder: Path, image: Image) -> None:
    """Nine points give 27 masks; of two with one box one is left. A second call, and other batches, give the same."""
    masks = segmenter(str(folder), ALL)(image)
    boxes = [bounds(mask) for mask in masks]
    assert 1 <= len(masks) <= 27
    assert masks.shape[1:] == (90, 120)
    assert torch.equal(masks, segmenter(str(folder), {**ALL, "batch": 2})(image))
    few = segmenter(str(folder), {**ALL, "overlap": 0.5})(image)
    assert all(iou(bounds(a), bounds(b)) <= 0.5 for n, a in enumerate(few) for b in few[:n])
    assert len(few) <= len(boxes)
    for limit in ({"quality": 1e9}, {"stability": 1.0}):  # nothing is more stable than wholly
        assert segmenter(str(folder), {**ALL, **limit})(image).shape == (0, 90, 120)


def test_a_name_tells_all_that_masks_depend_on(folder: Path) -> None:
    """A run with marks is known by it; how many points are asked at once changes no mask."""
    others = [{}, {"batch": 2}, {"side": 3}, {"quality": 0.5}, {"stability": 0.5}, {"overlap": 0.5}]
    assert len({segmenter(str(folder), one).name for one in others}) == 5


def test_stability_is_transformers_own() -> None:
    """Four pixels above 1 and two more above -1: 4 / 6. Its filter keeps what is above a limit of 0.6, not of 0.7."""
    logits = torch.full((1, 3, 4), -5.0)
    logits[0, 1] = torch.tensor([2.0, 2.0, 2.0, 2.0])
    logits[0, 0, :2] = 0.5
    assert stabilities(logits).tolist() == pytest.approx([4 / 6])
    from transformers import SamImageProcessorPil

    kept = [
        len(
            SamImageProcessorPil().filter_masks(
                logits[None], torch.ones(1, 1), (3, 4), [0, 0, 4, 3], stability_score_thresh=limit
            )[0]
        )
        for limit in (0.6, 0.7)
    ]
    assert kept == [1, 0]


def test_bounds_and_points() -> None:
    mask = torch.zeros(6, 8, dtype=torch.bool)
    assert bounds(mask) == (0, 0, 0, 0)
    mask[2:4, 5] = True
    assert bounds(mask) == (5, 2, 6, 4)
    assert grid(picture(40, 20), 2) == [(10, 5), (30, 5), (10, 15), (30, 15)]


def test_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds a 'grounding-dino'; allowed: sam, or module:Class"):
        segmenter(str(grounding_dino(tmp_path)))
    with pytest.raises(ValueError, match="side, batch: 0 and 16 given"):
        segmenter(str(folder), {"side": 0})
