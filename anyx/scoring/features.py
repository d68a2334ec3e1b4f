"""Features of media and whose they are, so that a figure over them can say what it depends on.

Letters: n media, d features of each.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


class Features(NamedTuple):
    """`values` (n, d) and the `embedder` they are of: its name, and the digest of its weights where it has some."""

    values: Floats
    embedder: str


def rows(values: ArrayLike, what: str = "features") -> Floats:
    """A table (n, d) of finite numbers in double precision; a ValueError for anything else."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        state = "with NaN or infinity" if found.size and found.ndim == 2 else f"of shape {found.shape}"
        raise ValueError(f"{what} are a table (n, d) of finite numbers, but one {state} was given")
    return found


def same(real: Features, made: Features) -> tuple[Floats, Floats]:
    """The values of two sets to compare; a ValueError where they are not of one embedder or width."""
    a, b = rows(real.values, "real features"), rows(made.values, "made features")
    if real.embedder != made.embedder or a.shape[1] != b.shape[1]:
        sides = [f"{side.embedder} of width {values.shape[1]}" for side, values in ((real, a), (made, b))]
        raise ValueError(f"both sets have features of one embedder, but {sides[0]} and {sides[1]} were given")
    return a, b
