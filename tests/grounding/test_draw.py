"""Boxes on the picture, by their pixels."""

from itertools import pairwise

import pytest
import torch

from anyx.grounding import Region
from anyx.grounding.draw import colours, draw, mark
from anyx.media import Image


def blank(height: int = 120, width: int = 160) -> Image:
    return Image(torch.full((3, height, width), 128, dtype=torch.uint8))


def pixel(image: Image, x: int, y: int) -> tuple[int, ...]:
    return tuple(image.pixels[:, y, x].tolist())


def test_each_region_has_its_own_colour_on_its_outline() -> None:
    regions = [Region("", ((10, 20, 50, 60), (100, 70, 130, 100))), Region("", ((70, 30, 90, 50),))]
    first, second = colours(2)
    drawn = draw(blank(), regions, width=2)
    assert first != second
    for x, y in ((10, 20), (50, 60), (30, 20), (10, 40), (130, 100)):
        assert pixel(drawn, x, y) == first
    assert pixel(drawn, 70, 30) == pixel(drawn, 90, 40) == second
    for x, y in ((30, 40), (9, 20), (51, 60), (60, 90)):  # inside, just outside, elsewhere
        assert pixel(drawn, x, y) == (128, 128, 128)


def test_colours_differ() -> None:
    many = colours(24)
    assert len(set(many)) == 24
    assert many[:5] == colours(5)
    near = min(sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in pairwise(many))
    assert near > 120, "neighbours in the list are told apart"


def test_the_phrase_is_written_on_a_ground_of_the_colour() -> None:
    (colour,) = colours(1)
    drawn = draw(blank(), [Region("a dog", ((10, 60, 100, 110),))], width=2)
    above = drawn.pixels[:, 40:60, 10:60].reshape(3, -1).T.tolist()
    assert sum(tuple(p) == colour for p in above) > 200, "its ground"
    assert min(sum(p) for p in above) < sum(colour) - 200 or max(sum(p) for p in above) > sum(colour) + 200, "letters"
    top = draw(blank(), [Region("a dog", ((10, 0, 100, 110),))], width=2)
    assert pixel(top, 12, 3) == colour, "at the upper edge the words are inside"


def test_what_lies_outside_is_drawn_at_the_edge() -> None:
    (colour,) = colours(1)
    drawn = draw(blank(), [Region("", ((-50, -50, 1000, 1000),))], width=2)
    assert all(pixel(drawn, x, y) == colour for x, y in ((0, 0), (159, 119), (80, 0), (0, 60)))


def test_points_quadrilaterals_and_marks() -> None:
    first, second = colours(2)
    drawn = draw(blank(), [Region("", ((40, 40),)), Region("", ((80, 20, 120, 20, 120, 60, 80, 60),))], width=3)
    assert pixel(drawn, 40, 40) == first
    assert pixel(drawn, 100, 20) == second
    numbered = mark(blank(), [(10, 50, 60, 100), (90, 50, 150, 100)])
    assert pixel(numbered, 10, 100) == first
    assert pixel(numbered, 90, 100) == second
    with pytest.raises(ValueError, match="one of 6 numbers"):
        draw(blank(), [Region("a chair", ((1, 2, 3, 4, 5, 6),))])


def test_nothing_is_drawn_without_regions() -> None:
    assert torch.equal(draw(blank(), []).pixels, blank().pixels)
