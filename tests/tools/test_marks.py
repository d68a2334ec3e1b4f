"""Set-of-mark prompting on drawn pictures: which numbers, where they stand, what is drawn, and numbers read back."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from tiny_tools import picture, sam
from torch import Tensor

from anyx.grounding.boxes import Box, Size
from anyx.grounding.draw import colours
from anyx.grounding.marks import MarkCodec
from anyx.media import Image
from anyx.tools.loading import segmenter
from anyx.tools.marks import Marker, drawn, first, marks, prompt, spoken

WIDE, HIGH = 120, 90


def mask(x0: int, y0: int, x1: int, y1: int) -> Tensor:
    made = torch.zeros(HIGH, WIDE, dtype=torch.bool)
    made[y0:y1, x0:x1] = True
    return made


class Cutter:
    """Gives the masks it was made with."""

    name = "cutter"

    def __init__(self, *masks: Tensor) -> None:
        self.masks = masks

    def __call__(self, image: Image, boxes: Sequence[Box] | None = None) -> Tensor:
        return torch.stack(self.masks)


SMALL, LARGE, WHOLE = mask(40, 30, 70, 60), mask(80, 10, 118, 80), mask(0, 0, WIDE, HIGH)


def test_numbers_go_by_area_and_stand_inside() -> None:
    """Areas 900, 38 x 70 = 2660 and 10800; the whole picture's number stands in neither of the other two."""
    found = marks([SMALL, LARGE, WHOLE])
    assert [(one.number, one.box) for one in found] == [
        (1, (0, 0, 120, 90)), (2, (80, 10, 118, 80)), (3, (40, 30, 70, 60)),
    ]  # fmt: skip
    free = {1: WHOLE & ~LARGE & ~SMALL, 2: LARGE, 3: SMALL}
    for one in found:
        x0, y0, x1, y1 = one.label
        assert free[one.number][y0:y1, x0:x1].all()
        assert one.size >= 10
    x0, y0, x1, y1 = found[2].label
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((55, 45), abs=1), "a square's middle"


def test_a_ring_has_its_number_in_the_ring() -> None:
    """The middle of the box of a ring 18 wide is not in it; its number is, and in smaller letters if need be."""
    ring = mask(0, 0, 90, 90) & ~mask(18, 18, 72, 72)
    (one,) = marks([ring])
    x0, y0, x1, y1 = one.label
    assert ring[y0:y1, x0:x1].all()


def test_what_has_no_room_has_no_mark() -> None:
    """A line four pixels high, an empty mask, and a region that smaller ones cover whole."""
    line, empty, covered = mask(0, 0, 120, 4), mask(0, 0, 0, 0), mask(40, 30, 70, 62)
    assert [one.box for one in marks([line, empty, SMALL])] == [(40, 30, 70, 60)]
    assert [one.box for one in marks([covered, SMALL])] == [(40, 30, 70, 60)]
    assert [one.number for one in marks([WHOLE, LARGE, SMALL], most=2)] == [1, 2]
    assert marks([]) == []


def pixel(image: Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(image.pixels[:, y, x].tolist())


def test_what_is_drawn() -> None:
    """White under a tenth of colour c is 255 - 0.1 (255 - c), rounded; an edge is c; numbers are legible."""
    found = marks([SMALL, LARGE])
    (colour, other), ground = colours(2), picture(WIDE, HIGH)
    over = drawn(ground, found, mode="mask", alpha=0.1)
    assert pixel(over, 82, 12) == pytest.approx([255 - 0.1 * (255 - c) for c in colour], abs=0.5)
    assert (pixel(over, 80, 10), pixel(over, 117, 79), pixel(over, 40, 45)) == (colour, colour, other)
    assert pixel(over, 10, 10) == (255, 255, 255)
    for mode, corner, inner in (
        ("contour", other, (255,) * 3),
        ("box", other, (255,) * 3),
        ("number", (255,) * 3, (255,) * 3),
    ):
        made = drawn(ground, found, mode=mode)
        assert (pixel(made, 40, 30), pixel(made, 43, 33)) == (corner, inner)
    for one, shade in zip(found, (colour, other), strict=True):
        x0, y0, x1, y1 = one.label
        inside = over.pixels[:, y0:y1, x0:x1].double().reshape(3, -1)
        light = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64) @ inside
        assert shade in {tuple(row) for row in inside.T.int().tolist()}, "the ground has the colour of the mark"
        assert light.max() - light.min() > 80, "letters are told from it"


def test_numbers_of_several_digits_stay_inside() -> None:
    """Twelve squares of 30 in a row of four; the numbers are 1 to 12."""
    squares = [mask(30 * (n % 4), 30 * (n // 4), 30 * (n % 4) + 30, 30 * (n // 4) + 30) for n in range(12)]
    found = marks(squares)
    assert [one.number for one in found] == list(range(1, 13))
    assert all(
        x0 <= l0 < l1 <= x1 and y0 <= t0 < t1 <= y1
        for (x0, y0, x1, y1), (l0, t0, l1, t1) in ((one.box, one.label) for one in found)
    )


def test_a_reply_is_read_back() -> None:
    found = marks([SMALL, LARGE])
    said = spoken("The cup [2] is left of the door [1], not of [2] or [7]; [0.1, 0.2]", found)
    assert ([one.number for one in said.marks], said.unknown) == ([2, 1], 1)
    assert said.marks[0].box == (40, 30, 70, 60)
    assert torch.equal(said.marks[0].mask, SMALL)
    assert spoken("none", found) == ([], 0)
    assert (first("[0], [9], then [2] or [1]", 2), first("[3] and 1", 2)) == (2, None)
    (region,) = MarkCodec(marks=[one.box for one in found]).parse("The cup [2]", Size(WIDE, HIGH)).regions
    assert region.boxes == ((40, 30, 70, 60),), "the codec of models reads the same numbers"


def test_the_prompt_says_which_marks_there_are() -> None:
    assert prompt([]) == ""
    assert prompt(marks([SMALL])).startswith("Regions of the picture are marked with the number 1. ")
    assert "with the numbers 1 to 2. Name a region by its number in brackets, as [2].\n" in prompt(
        marks([SMALL, LARGE])
    )


def test_a_marker_and_its_settings(tmp_path: object) -> None:
    image = picture(WIDE, HIGH)
    marker = Marker(Cutter(SMALL, LARGE), mode="box")
    made, found = marker(image)
    assert torch.equal(made.pixels, drawn(image, found, mode="box").pixels)
    assert marker.name == "set-of-mark@anyx-1 box 0.1 of cutter, 50 at most"
    for settings, wanted in (
        ({"mode": "dots"}, "mode: 'dots' is not one of mask"),
        ({"alpha": 2}, "alpha: 2"),
        ({"most": 0}, "most: 0"),
    ):
        with pytest.raises(ValueError, match=wanted):
            Marker(Cutter(SMALL), **settings)  # type: ignore[arg-type]


def test_marks_of_a_real_segmenter(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A random SAM's regions are anything; their numbers are inside of them all the same."""
    options = {"side": 2, "quality": -1e9, "stability": -1.0, "overlap": 0.9}
    tool = segmenter(str(sam(tmp_path_factory.mktemp("sam"))), options)
    made, found = Marker(tool)(picture(WIDE, HIGH, (10, 10, 60, 60)))
    assert made.size == (HIGH, WIDE)
    assert found
    for one in found:
        x0, y0, x1, y1 = one.label
        assert one.mask[y0:y1, x0:x1].all()
