"""What AnyWorld's media are compared in, without a weight that was learned: how sharp, clean and like a rendering.

Features of `RandomConv` on the scale of two copies of every scene: a KID of these is of the order of 1 where every
feature is off by one deviation of the world's, in pictures, sounds and clips alike.
"""

from __future__ import annotations

from pathlib import Path

from anyx.imports import import_file
from anyx.scoring.embedders import RandomConv
from anyx.scoring.scaled import Scaled

corpus = import_file(Path(__file__).parent / "corpus.py")
COPIES = 2  # of every scene, by which features are scaled; no run is asked for these


class WorldConv(Scaled):
    """Media of a key -> features on the world's own scale; `seed` draws the convolutions."""

    def __init__(self, *, key: str, seed: int = 0) -> None:
        if key not in corpus.MEDIA:
            raise ValueError(f"key: {key!r} is not one of {', '.join(corpus.MEDIA)}")
        render, number = corpus.MEDIA[key], range(COPIES)
        known = [
            render(scene, corpus.generator("scale", key, scene, i)) for scene in corpus.world.SCENES for i in number
        ]
        super().__init__(RandomConv(seed), known, called=f"world-conv@1 {key}")
