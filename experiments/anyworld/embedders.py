"""What AnyWorld's media are compared in, without a weight that was learned: how sharp, clean and like a rendering.

Features of `RandomConv`, each brought to mean 0 and deviation 1 over two copies of every scene: a KID of these is of
the order of 1 where every feature is off by one deviation of the world's, in pictures, sounds and clips alike. Beyond
three deviations all is equally strange, so that one broken medium of many does not decide. A feature that is the same
everywhere says nothing and is left out.

Letters: n media, d features of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anyx.imports import import_file
from anyx.scoring.embedders import Medium, RandomConv
from anyx.scoring.features import Floats

corpus = import_file(Path(__file__).parent / "corpus.py")
COPIES = 2  # of every scene, by which features are scaled; no run is asked for these
FAR = 3.0  # deviations
STEADY = 1e-4  # a feature that deviates less than this share of the most is steady


class WorldConv:
    """Media of a key -> features (n, d) on the world's own scale; `seed` draws the convolutions."""

    def __init__(self, *, key: str, seed: int = 0) -> None:
        if key not in corpus.MEDIA:
            raise ValueError(f"key: {key!r} is not one of {', '.join(corpus.MEDIA)}")
        self.conv = RandomConv(seed)
        render, number = corpus.MEDIA[key], range(COPIES)
        known = [
            render(scene, corpus.generator("scale", key, scene, i)) for scene in corpus.world.SCENES for i in number
        ]
        found = self.conv(known)
        spread = found.std(0)
        self.kept = spread > STEADY * spread.max()
        self.middle, self.spread = found.mean(0)[self.kept], spread[self.kept]
        self.dim = int(self.kept.sum())
        self.name = f"world-conv@1 {key}, {self.conv.name}"

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d)."""
        found: Floats = np.clip((self.conv(media)[:, self.kept] - self.middle) / self.spread, -FAR, FAR)
        return found
