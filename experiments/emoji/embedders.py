"""What emoji world's media are compared in, without a weight that was learned: how sharp, clean and like real ones.

Features of `RandomConv` on the scale of one real held-out copy of each of the 233 things, under a seed that no run asks
for: a KID of these is of the order of 1 where every feature is off by one deviation of the world's.
"""

from __future__ import annotations

from pathlib import Path

from anyx.imports import import_file
from anyx.scoring.embedders import RandomConv
from anyx.scoring.scaled import Scaled

corpus = import_file(Path(__file__).parent / "corpus.py")
KEYS = ("image", "audio", "video")
APART = 1 << 20  # a seed far from those of samples


class EmojiConv(Scaled):
    """Media of a key -> features on the scale of the world's own; `seed` draws the convolutions."""

    def __init__(self, *, key: str, seed: int = 0) -> None:
        if key not in KEYS:
            raise ValueError(f"key: {key!r} is not one of {', '.join(KEYS)}")
        known = [corpus.held_out(concept, key, "seen", APART) for concept in corpus.core()]
        super().__init__(RandomConv(seed), known, called=f"emoji-conv@1 {key}")
