"""How sure a result is, and whether it differs from another on the same items: what a report prints beside it."""

from __future__ import annotations

from typing import NamedTuple

from anyx.scoring.bootstrap import REPEATS, cluster_means, edges, paired_bootstrap, permutation_test
from anyx.scoring.result import Result
from anyx.scoring.statistics import wilson


class Difference(NamedTuple):
    """The first figure less the baseline's, its 95% interval (None of one source), and the p of there being none."""

    difference: float
    low: float | None
    high: float | None
    p: float


def interval(result: Result, *, repeats: int = REPEATS, seed: int = 0) -> tuple[float, float] | None:
    """The 95% interval of a result's first figure: percentiles of the bootstrap over clusters.

    Of shares that are 0 or 1 and stand each for itself it is Wilson's. Where clusters are all alike, drawing again
    shows nothing: of shares it is Wilson's over as many as there are clusters, else None, as it is below two clusters.
    """
    items, clusters = result.items, result.clusters or range(len(result.items))
    groups = len(set(clusters))
    if groups < 2:
        return None
    of_each: dict[object, list[float]] = {}
    for item, cluster in zip(items, clusters, strict=True):
        of_each.setdefault(cluster, []).append(item)
    means = [sum(some) / len(some) for some in of_each.values()]
    alike = max(means) - min(means) < 1e-12
    if result.share and (alike or (groups == len(items) and set(items) <= {0.0, 1.0})):
        low, high = wilson(sum(items) * groups / len(items), groups)
    elif alike:
        return None
    else:
        low, high = edges(cluster_means(items, result.clusters, repeats=repeats, seed=seed), groups)
    return result.scale * low, result.scale * high


def compare(result: Result, baseline: Result, *, repeats: int = REPEATS, seed: int = 0) -> Difference:
    """The paired bootstrap and permutation test of two results over the same items, in the same order.

    Where all items differ alike the interval has no width: how sure that is, p says. ValueError: they are of two
    metrics, or were read by different parsers, or are not of as many items or of the same clusters.
    """
    for one, other in ((result.metric, baseline.metric), (result.by, baseline.by)):
        if one != other:
            raise ValueError(f"{one} does not compare with {other}; score both alike")
    if list(result.clusters) != list(baseline.clusters):
        raise ValueError("the clusters of two results differ; score both on the same items in the same order")
    low, high = paired_bootstrap(result.items, baseline.items, result.clusters, repeats=repeats, seed=seed)
    p = permutation_test(result.items, baseline.items, result.clusters, seed=seed)
    difference = result.scale * (sum(result.items) - sum(baseline.items)) / len(result.items)
    if len(set(result.clusters)) == 1:
        return Difference(difference, None, None, p)
    return Difference(difference, result.scale * low, result.scale * high, p)
