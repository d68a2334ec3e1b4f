"""Figures of a measurement: shares with their 95% intervals, top-k of ranked labels, chance by shuffling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from anyx.media import Audio, Image, Video

Z95 = 1.959964
SHUFFLES = 200


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95% Wilson score interval of a share; (0, 1) where nothing was measured."""
    if not total:
        return 0.0, 1.0
    share, z2 = hits / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(0.0, middle - half), min(1.0, middle + half)


def hits(ranked: Sequence[Sequence[int]], targets: Sequence[int], k: int) -> int:
    """How many targets stand among the first k labels of their ranking."""
    if len(ranked) != len(targets):
        raise ValueError(f"{len(ranked)} rankings but {len(targets)} targets; each ranking has one target")
    return sum(target in row[:k] for row, target in zip(ranked, targets, strict=True))


def chance(ranked: Sequence[Sequence[int]], targets: Sequence[int], seed: int = 0) -> float:
    """Mean top-1 when outputs are dealt out to the wrong requests (`SHUFFLES` seeded shuffles)."""
    if not targets:
        return 0.0
    generator = torch.Generator().manual_seed(seed)
    first = torch.tensor([row[0] if row else -1 for row in ranked])
    wanted = torch.tensor(list(targets))
    orders = torch.stack([torch.randperm(len(wanted), generator=generator) for _ in range(SHUFFLES)])
    return (first[None] == wanted[orders]).float().mean().item()


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
