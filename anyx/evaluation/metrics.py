"""Figures of a measurement: top-k of ranked labels, chance by shuffling, what is an output at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from anyx.media import Audio, Image, Video


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
