"""How sure a score is: standard errors, plain and by cluster (Miller 2024, arXiv:2411.00640), paired t, Wilson.

Scores of items that came of one source (questions on one picture) are not independent; `clusters` name the sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959964


class Paired(NamedTuple):
    """Two systems over the same items: mean difference, its standard error, its 95% interval, t, two-sided p."""

    difference: float
    error: float
    low: float
    high: float
    t: float
    p: float
    n: int


def wilson(hits: float, total: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share, of which a hit may be a part; (0, 1) where nothing was measured."""
    if not total:
        return 0.0, 1.0
    share, z2 = hits / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of independent items: the sample deviation (n - 1) over the root of n. ValueError below two items."""
    found = numbers(values)
    return float(found.std(ddof=1) / math.sqrt(len(found)))


def clustered_error(values: Sequence[float], clusters: Sequence[object]) -> float:
    """Of the mean of items that vary together within clusters: Miller's equation 4, 0 where its sum is below.

    The square of `standard_error`, plus the products of deviations of two items of one cluster, summed, over n squared.
    """
    apart = numbers(values)
    apart = apart - apart.mean()
    together = sums(apart, places(clusters, len(apart)))
    cross = (together @ together - apart @ apart) / len(apart) ** 2
    return math.sqrt(max(0.0, standard_error(values) ** 2 + float(cross)))


def paired_t(values: Sequence[float], baseline: Sequence[float]) -> Paired:
    """Student's t on the differences of items; where all are equal, p is 1 if they are 0 and else 0."""
    from scipy import stats

    difference = numbers(values) - numbers(baseline, like=values)
    n, mean = len(difference), float(difference.mean())
    error = standard_error(difference.tolist())
    half = float(stats.t.ppf(0.975, n - 1)) * error
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    p = 2 * float(stats.t.sf(abs(t), n - 1))
    return Paired(mean, error, mean - half, mean + half, t, p, n)


def numbers(values: Sequence[float], like: Sequence[float] | None = None) -> NDArray[np.float64]:
    """The values as an array (n,); ValueError below two, and where there are not as many as of `like`."""
    if len(values) < 2:
        raise ValueError(f"{len(values)} items given; an error can be told from two or more")
    if like is not None and len(like) != len(values):
        raise ValueError(f"{len(like)} items but {len(values)} of the baseline; both are scored on the same items")
    return np.asarray(values, dtype=np.float64)


def places(clusters: Sequence[object], n: int) -> NDArray[np.int64]:
    """The clusters of n items as numbers from 0, in order of first sight; ValueError where they are not n."""
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} clusters but {n} items; each item has one cluster")
    order = {name: place for place, name in enumerate(dict.fromkeys(clusters))}
    return np.array([order[name] for name in clusters], dtype=np.int64)


def sums(values: NDArray[np.float64], cluster: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of values (n,) or (n, columns) by cluster: (clusters,) or (clusters, columns)."""
    found = np.zeros((int(cluster.max()) + 1, *values.shape[1:]))
    np.add.at(found, cluster, values)
    return found
