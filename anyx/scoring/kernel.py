"""Kernel distance of two sets of features (KID): the squared maximum mean discrepancy, without bias (Binkowski, 2018).

Its kernel is (x.y / d + 1)^3. Of equal distributions it is 0 on average for any number of media, and may be below.

Letters: n media of a set, d features of each.
"""

from __future__ import annotations

import math

import numpy as np

from anyx.scoring.features import Features, Floats, rows, same
from anyx.scoring.result import Result


def kernel(a: Floats, b: Floats) -> Floats:
    """The cubic kernel of each pair: (n, d), (m, d) -> (n, m)."""
    found: Floats = (a @ b.T / a.shape[1] + 1) ** 3
    return found


def discrepancy(a: Floats, b: Floats) -> float:
    """The unbiased estimate over two tables of at least two rows: pairs of an item with itself are left out."""
    a, b = rows(a), rows(b)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a kernel distance takes two media a set or more, but {len(a)} and {len(b)} were given")
    own = 0.0
    for one in (a, b):
        pairs = kernel(one, one)
        own += (pairs.sum() - np.trace(pairs)) / (len(one) * (len(one) - 1))
    return float(own - 2 * kernel(a, b).mean())


def kid(real: Features, made: Features, *, blocks: int = 10, seed: int = 0) -> Result:
    """KID over all media, and its standard error by disjoint blocks of them, shuffled by `seed`.

    `kid_blocks` is the mean over blocks and `kid_error` its standard error; both are None where a block would have
    fewer than two media.
    """
    a, b = same(real, made)
    figures: dict[str, float | None] = {"kid": discrepancy(a, b), "kid_blocks": None, "kid_error": None}
    if blocks > 1 and min(len(a), len(b)) >= 2 * blocks:
        dice = np.random.default_rng(seed)
        parts = zip(*(np.array_split(x[dice.permutation(len(x))], blocks) for x in (a, b)), strict=True)
        found = [discrepancy(one, other) for one, other in parts]
        figures["kid_blocks"] = float(np.mean(found))
        figures["kid_error"] = float(np.std(found, ddof=1) / math.sqrt(blocks))
    return Result(metric="kid", by={"embedder": real.embedder, "blocks": str(blocks)}, figures=figures, n=len(b))
