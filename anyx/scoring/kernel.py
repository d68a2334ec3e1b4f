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


def unlike(pairs: Floats) -> float:
    """The mean over pairs of two items (n, n): those of an item with itself, or with its match, are left out."""
    return float((pairs.sum() - np.trace(pairs)) / (len(pairs) * (len(pairs) - 1)))


def discrepancy(a: Floats, b: Floats, *, matched: bool = False) -> float:
    """The unbiased estimate over two tables of at least two rows; `matched` where row by row both show the same."""
    a, b = rows(a), rows(b)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a kernel distance takes two media a set or more, but {len(a)} and {len(b)} were given")
    if matched and len(a) != len(b):
        raise ValueError(f"matched sets are of one size, but {len(a)} and {len(b)} media were given")
    crossed = kernel(a, b)
    return unlike(kernel(a, a)) + unlike(kernel(b, b)) - 2 * (unlike(crossed) if matched else float(crossed.mean()))


def kid(real: Features, made: Features, *, blocks: int = 10, seed: int = 0, matched: bool = False) -> Result:
    """KID over all media, and its standard error by disjoint blocks of them, shuffled by `seed`.

    `matched`: both sets show the same things in the same order. Two media of one thing are nearer than two of the sets,
    so that sets of one distribution would come out below 0; these pairs are left out.

    `kid_blocks` is the mean over blocks and `kid_error` its standard error; both are None where a block would have
    fewer than two media.
    """
    a, b = same(real, made)
    whole = discrepancy(a, b, matched=matched)
    figures: dict[str, float | None] = {"kid": whole, "kid_blocks": None, "kid_error": None}
    if blocks > 1 and min(len(a), len(b)) >= 2 * blocks:
        dice = np.random.default_rng(seed)
        orders = [dice.permutation(len(x)) for x in (a, b)]
        if matched:
            orders[1] = orders[0]
        parts = zip(*(np.array_split(x[order], blocks) for x, order in zip((a, b), orders, strict=True)), strict=True)
        found = [discrepancy(one, other, matched=matched) for one, other in parts]
        figures["kid_blocks"] = float(np.mean(found))
        figures["kid_error"] = float(np.std(found, ddof=1) / math.sqrt(blocks))
    by = {"embedder": real.embedder, "blocks": str(blocks)} | ({"matched": "left out"} if matched else {})
    return Result(metric="kid", by=by, figures=figures, n=len(b))
