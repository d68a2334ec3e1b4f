"""The judge of words: which of a closed list of labels does a text name?

A label is named where its words stand in the text, whole and in order; of labels that overlap the longest counts, of
several the earliest. A label that is not named is no guess: misspellings and fragments earn nothing.

Letters: b texts, l labels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

ARTICLES = {"a", "an", "the"}


def words_of(text: str) -> list[str]:
    """Lower-case words, without punctuation and articles."""
    found = re.findall(r"[a-z0-9]+", text.lower().replace("'", ""))
    return [word for word in found if word not in ARTICLES]


class LabelJudge:
    """Texts -> scores of `labels`: 2 to 3 where named, 1 to 2 inside a longer name, else -inf."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = [words_of(label) for label in labels]
        if empty := [label for label, words in zip(labels, self.labels, strict=True) if not words]:
            raise ValueError(f"{empty[0]!r} has no word of latin letters or digits by which a text could name it")

    def __call__(self, outputs: Sequence[str]) -> Float[Tensor, "b l"]:
        """One row a text."""
        return torch.stack([torch.tensor(self.scores(words_of(text))) for text in outputs])

    def scores(self, words: list[str]) -> list[float]:
        """The scores of one text."""
        places = [place(label, words) for label in self.labels]
        spans = [(at, at + len(label)) for at, label in zip(places, self.labels, strict=True) if at >= 0]
        scores = []
        for at, label in zip(places, self.labels, strict=True):
            if at < 0:
                scores.append(-math.inf)
                continue
            inside = any(a <= at and at + len(label) <= b and b - a > len(label) for a, b in spans)
            scores.append((1.0 if inside else 2.0) + 1 / (2 + at))
        return scores


def place(label: Sequence[str], words: Sequence[str]) -> int:
    """Where the label's words first stand in the text, or -1."""
    size = len(label)
    return next((i for i in range(len(words) - size + 1) if list(words[i : i + size]) == list(label)), -1)
