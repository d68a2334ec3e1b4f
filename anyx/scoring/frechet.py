"""Frechet distance of two sets of features: FID, FAD and FVD are this, each over an embedder of its own.

|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), of means and covariances (over n - 1). It is biased by the number of media:
real ones stand apart from other real ones too. So it comes with a floor, which is that of two sets of real media of the
same size. It has no interval: resampling with replacement leaves the value itself outside.

Letters: n media of a set, d features of each.
"""

from __future__ import annotations

import numpy as np

from anyx.scoring.features import Features, Floats, rows, same
from anyx.scoring.result import Result

DRAWS = 5  # of halves, of which the floor is the mean


def distance(a: Floats, b: Floats) -> float:
    """The distance of two tables (n, d) of at least two rows.

    tr (S1 S2)^(1/2) is the sum of singular values of R1 R2', where R'R is a covariance: no root of a matrix is taken,
    and nothing turns complex where a covariance is singular.
    """
    a, b = rows(a), rows(b)
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a Frechet distance takes two media a set or more, but {len(a)} and {len(b)} were given")
    apart = a.mean(0) - b.mean(0)
    roots = [np.linalg.qr((x - x.mean(0)) / np.sqrt(len(x) - 1))[1] for x in (a, b)]
    traces = sum(float((root**2).sum()) for root in roots)
    crossed = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(max(0.0, apart @ apart + traces - 2 * crossed))


def frechet(real: Features, made: Features, *, metric: str = "frechet", seed: int = 0) -> Result:
    """The distance of made media from real ones, with its floor; `metric` may say `fad` of sounds.

    `floor` is the mean distance of two disjoint draws of `floor_n` real media, and `at_floor_n` that of as many made
    from as many real ones: compare these two. They are None of fewer than four real media.
    """
    a, b = same(real, made)
    size, dice = min(len(a) // 2, len(b)), np.random.default_rng(seed)
    floors, again = [], []
    for _ in range(DRAWS if size > 1 else 0):
        order = dice.permutation(len(a))
        half = a[order[:size]]
        floors.append(distance(half, a[order[size : 2 * size]]))
        again.append(distance(half, b[dice.permutation(len(b))[:size]]))
    figures: dict[str, float | None] = {metric: distance(a, b), "floor": None, "at_floor_n": None, "floor_n": None}
    if floors:
        figures |= {"floor": float(np.mean(floors)), "at_floor_n": float(np.mean(again)), "floor_n": float(size)}
    return Result(metric=metric, by={"embedder": real.embedder}, figures=figures, n=len(b))
