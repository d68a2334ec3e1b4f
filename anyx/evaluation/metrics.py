"""Figures of a measurement: top-k of ranked labels, chance by shuffling, intervals, what is an output at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from anyx.media import Audio, Image, Video
from anyx.scoring.bootstrap import cluster_means, edges
from anyx.scoring.statistics import wilson

ALIKE = 1e-9  # an interval as narrow is none: labels that are all alike are drawn the same each time


def hits(ranked: Sequence[Sequence[int]], targets: Sequence[int], k: int) -> int:
    """How many targets stand among the first k labels of their ranking."""
    if len(ranked) != len(targets):
        raise ValueError(f"{len(ranked)} rankings but {len(targets)} targets; each ranking has one target")
    return sum(target in row[:k] for row, target in zip(ranked, targets, strict=True))


def chance(ranked: Sequence[Sequence[int]], targets: Sequence[int]) -> float:
    """Mean top-1 when every output is handed to each request but its own: what shuffled outputs score on average."""
    total = len(targets)
    if total < 2:
        return 0.0
    first = Counter(row[0] for row in ranked if row)
    matches = sum(first[target] for target in targets)
    return (matches - hits(ranked, targets, 1)) / (total * (total - 1))


def bounds(right: Sequence[float], labels: Sequence[str]) -> tuple[float, float]:
    """The 95% interval of a share over answers of which those about one label hang together: a bootstrap over labels.

    Where each label has one answer it is Wilson's, for a share near 0 or 1 is drawn too seldom otherwise. Where all
    labels are right to the same share the bootstrap has no width, and each counts as one answer instead (Wilson).
    """
    groups = len(set(labels))
    if groups == len(right) and set(right) <= {0.0, 1.0}:
        return wilson(sum(right), groups)
    low, high = edges(cluster_means(right, labels), groups)
    return (low, high) if high - low > ALIKE else wilson(groups * sum(right) / len(right), groups)


def difference_bounds(differences: Sequence[float], labels: Sequence[str]) -> tuple[float, float]:
    """The 95% interval of the mean of differences, -1 to 1, by a bootstrap over labels.

    Where all labels differ alike it has no width: then a share of labels that Wilson's bound leaves may be otherwise,
    by 1 to either side.
    """
    groups = len(set(labels))
    low, high = edges(cluster_means(differences, labels), groups)
    if high - low > ALIKE:
        return low, high
    mean = sum(differences) / len(differences)
    sure, _ = wilson(groups, groups)
    return sure * mean - (1 - sure), sure * mean + (1 - sure)


def sound(media: Image | Audio | Video | str) -> bool:
    """Whether an output is one at all: words, a picture that is not one colour, a sound that is not silence."""
    if isinstance(media, str):
        return bool(media.strip())
    if isinstance(media, Image):
        return media.pixels.float().std().item() > 2
    if isinstance(media, Video):
        return len(media.frames) > 1 and media.frames.float().std().item() > 2
    samples = media.samples
    return bool(samples.isfinite().all()) and media.seconds > 0.1 and samples.abs().max().item() > 0.01
