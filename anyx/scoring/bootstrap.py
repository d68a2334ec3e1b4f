"""Intervals and tests by drawing again: the bootstrap over clusters, and two systems over the same items.

Draws come from a numpy generator of the given seed, so that a result is the same each time. `clusters` name the source
of each item, of which whole ones are drawn; without any, each item stands for itself.

Percentiles of means over few clusters lie too near each other, as a deviation over n instead of n - 1 does: `edges`
takes them further out, as far as Student's t is beyond the normal (Hesterberg's expanded percentiles, arXiv:1411.5279).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyx.scoring.statistics import numbers, places, sums

REPEATS = 2000
BLOCK = 2**22  # draws held at once


def percentiles(draws: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the draws (repeats,), between neighbours linearly."""
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(np.asarray(draws, dtype=np.float64), [tail, 100 - tail])
    return float(low), float(high)


def widened(clusters: int, level: float = 0.95) -> float:
    """The share of draws between whose ends a mean over so many clusters, two or more, lies with `level`."""
    from scipy import stats

    if clusters < 2:
        return level
    point = float(stats.t.ppf((1 + level) / 2, clusters - 1)) * math.sqrt(clusters / (clusters - 1))
    return 1 - 2 * float(stats.norm.sf(point))


def edges(draws: ArrayLike, clusters: int, level: float = 0.95) -> tuple[float, float]:
    """The interval of a mean by its draws (repeats,) over so many clusters."""
    return percentiles(draws, widened(clusters, level))


def drawn_means(values: Sequence[float], indices: ArrayLike) -> NDArray[np.float64]:
    """Means (repeats,) of the items that each row of `indices` (repeats, n) draws."""
    means: NDArray[np.float64] = numbers(values)[np.asarray(indices, dtype=np.int64)].mean(axis=1)
    return means


def cluster_means(
    values: ArrayLike, clusters: Sequence[object] = (), *, repeats: int = REPEATS, seed: int = 0
) -> NDArray[np.float64]:
    """Means of items over clusters drawn with replacement, as many as there are.

    `values` (n,) gives (repeats,); (n, columns), several scores of the same items, gives (repeats, columns). A mean is
    over the items drawn, so that clusters weigh by their size.
    """
    table = np.asarray(values, dtype=np.float64)
    cluster = places(clusters or range(len(table)), len(table))
    total, sizes = sums(table, cluster), np.bincount(cluster).astype(np.float64)
    generator = np.random.default_rng(seed)
    found = []
    for rows in _blocks(repeats, len(sizes)):
        drawn = generator.integers(len(sizes), size=(rows, len(sizes))) + len(sizes) * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)
        found.append(((times @ total).T / (times @ sizes)).T)
    means: NDArray[np.float64] = np.concatenate(found)
    return means


def paired_bootstrap(
    values: Sequence[float],
    baseline: Sequence[float],
    clusters: Sequence[object] = (),
    *,
    repeats: int = REPEATS,
    seed: int = 0,
) -> tuple[float, float]:
    """The 95% interval of the mean difference of two systems over the same items."""
    difference = numbers(values) - numbers(baseline, like=values)
    count = len(set(clusters)) or len(difference)
    return edges(cluster_means(difference, clusters, repeats=repeats, seed=seed), count)


def permutation_test(
    values: Sequence[float],
    baseline: Sequence[float],
    clusters: Sequence[object] = (),
    *,
    repeats: int = 10_000,
    seed: int = 0,
) -> float:
    """The two-sided p of the mean difference where the systems' names are swapped at random, a cluster at a time.

    What was measured counts as one draw more, so that p is never 0.
    """
    difference = numbers(values) - numbers(baseline, like=values)
    total = sums(difference, places(clusters or range(len(difference)), len(difference)))
    least = abs(total.sum()) - 1e-9 * np.abs(total).sum()  # sums in another order are equal only to rounding
    generator = np.random.default_rng(seed)
    extreme = 0
    for rows in _blocks(repeats, len(total)):
        signs = 2.0 * generator.integers(2, size=(rows, len(total))) - 1
        extreme += int(np.count_nonzero(np.abs(signs @ total) >= least))
    return (extreme + 1) / (repeats + 1)


def _blocks(repeats: int, width: int) -> Iterator[int]:
    """How many repeats to draw at once, so that no more than `BLOCK` draws are held."""
    most = max(1, BLOCK // width)
    yield from (min(most, repeats - start) for start in range(0, repeats, most))
