"""Features on the scale of known media: 0 is their mean, 1 their deviation.

Kernel and Frechet distances of raw features say little: a few large ones decide, and pictures and sounds are on scales
of their own. Of features that are scaled, a KID of the order of 1 means that every feature is off by a deviation.

Letters: n media, d features of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anyx.scoring.embedders import Embedder, Medium
from anyx.scoring.features import Floats

FAR = 3.0  # deviations, beyond which all is equally strange: one broken medium of many does not decide
STEADY = 1e-4  # a feature that deviates less than this share of the most says nothing and is left out


class Scaled:
    """Another embedder's features, each brought to mean 0 and deviation 1 over `known` media, and cut off at `FAR`.

    `called` says in the name whose scale it is. ValueError where fewer than two media are known, or all are alike.
    """

    def __init__(self, embedder: Embedder, known: Sequence[Medium], *, called: str) -> None:
        if len(known) < 2:
            raise ValueError(f"known: {len(known)} media; a scale needs 2 or more")
        found = embedder(known)
        spread = found.std(0)
        self.kept = spread > STEADY * spread.max()
        if not self.kept.any():
            raise ValueError("known: all media are alike, so that there is no scale")
        self.embedder = embedder
        self.middle, self.spread = found.mean(0)[self.kept], spread[self.kept]
        self.dim = int(self.kept.sum())
        self.name = f"{called}, {embedder.name}"

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d)."""
        found: Floats = np.clip((self.embedder(media)[:, self.kept] - self.middle) / self.spread, -FAR, FAR)
        return found
