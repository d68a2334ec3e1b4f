"""Features on the scale of known media, by hand: mean 0, deviation 1, cut off, steady ones left out."""

from collections.abc import Sequence

import numpy as np
import pytest

from anyx.scoring.embedders import Medium
from anyx.scoring.features import Floats
from anyx.scoring.scaled import FAR, Scaled


class Letters:
    """Words as (length, length squared, 7)."""

    name, dim = "letters@1", 3

    def __call__(self, media: Sequence[Medium]) -> Floats:
        return np.array([[len(str(one)), len(str(one)) ** 2, 7.0] for one in media])


def test_known_media_have_mean_0_and_deviation_1() -> None:
    """Lengths 1 and 3: mean 2, deviation 1; squares 1 and 9: mean 5, deviation 4; the third feature says nothing."""
    scaled = Scaled(Letters(), ["a", "abc"], called="words@1")
    assert (scaled.name, scaled.dim) == ("words@1, letters@1", 2)
    assert scaled(["a", "abc", "ab", "a" * 50]).tolist() == [[-1, -1], [1, 1], [0, -0.25], [FAR, FAR]]


def test_a_scale_needs_media_that_differ() -> None:
    with pytest.raises(ValueError, match="known: 1 media; a scale needs 2 or more"):
        Scaled(Letters(), ["a"], called="words@1")
    with pytest.raises(ValueError, match="known: all media are alike"):
        Scaled(Letters(), ["a", "b"], called="words@1")
