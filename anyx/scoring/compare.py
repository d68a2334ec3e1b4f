"""How sure a result is, and whether it differs from another on the same items: what a report prints beside it."""

from __future__ import annotations

from typing import NamedTuple

from anyx.scoring.bootstrap import REPEATS, cluster_means, paired_bootstrap, percentiles, permutation_test
from anyx.scoring.result import Result
from anyx.scoring.statistics import wilson


class Difference(NamedTuple):
    """The first figure less the baseline's, its 95% interval, and the p of there being none."""

    difference: float
    low: float
    high: float
    p: float


def interval(result: Result, *, repeats: int = REPEATS, seed: int = 0) -> tuple[float, float] | None:
    """The 95% interval of a result's first figure; None below two items.

    Wilson's where items are right or wrong and each stands for itself, else percentiles of the bootstrap over clusters.
    """
    if len(result.items) < 2:
        return None
    if not result.clusters and set(result.items) <= {0.0, 1.0}:
        low, high = wilson(int(sum(result.items)), len(result.items))
    else:
        low, high = percentiles(cluster_means(result.items, result.clusters, repeats=repeats, seed=seed))
    return result.scale * low, result.scale * high


def compare(result: Result, baseline: Result, *, repeats: int = REPEATS, seed: int = 0) -> Difference:
    """The paired bootstrap and permutation test of two results over the same items, in the same order.

    ValueError: they are of two metrics, or were read by different parsers, or are not of as many items or clusters.
    """
    for one, other in ((result.metric, baseline.metric), (result.by, baseline.by)):
        if one != other:
            raise ValueError(f"{one} does not compare with {other}; score both alike")
    if list(result.clusters) != list(baseline.clusters):
        raise ValueError("the clusters of two results differ; score both on the same items in the same order")
    low, high = paired_bootstrap(result.items, baseline.items, result.clusters, repeats=repeats, seed=seed)
    p = permutation_test(result.items, baseline.items, result.clusters, seed=seed)
    difference = (sum(result.items) - sum(baseline.items)) / len(result.items)
    return Difference(result.scale * difference, result.scale * low, result.scale * high, p)
