"""CIDEr-D of tokens: likeness of n-grams weighed by how rare they are among the images (Vedantam, 2015).

Rarity is counted over the references of the images that are scored, or over a set handed in: hold that fixed to compare
or resample subsets. Of one image alone every n-gram is common, and its score is 0.

Letters: n words of an n-gram, 1 to 4; df images whose references have an n-gram.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from anyx.scoring.bleu import NUMBERS, Words, ngrams

SIGMA = 6.0  # of the penalty for another length, in words
SCALE = 10.0

Weights = dict[tuple[str, ...], float]


class Rarity(NamedTuple):
    """In how many of `images` each n-gram occurs."""

    images: int
    counts: Counter[tuple[str, ...]]


def rarity(references: Sequence[Sequence[Words]]) -> Rarity:
    """Count over the references of images, some an image."""
    counts: Counter[tuple[str, ...]] = Counter()
    for some in references:
        counts.update({gram for words in some for n in NUMBERS for gram in ngrams(words, n)})
    return Rarity(len(references), counts)


def weights(words: Words, known: Rarity) -> list[Weights]:
    """Counts of n-grams times log(images / df), one mapping for each n."""
    rare = math.log(max(1, known.images))
    return [
        {gram: count * (rare - math.log(max(1, known.counts[gram]))) for gram, count in ngrams(words, n).items()}
        for n in NUMBERS
    ]


def likeness(a: Weights, b: Weights) -> float:
    """Cosine of a reply's weights and a reference's, where the reply's count as far as the reference has them."""
    dot = sum(min(weight, b[gram]) * b[gram] for gram, weight in a.items() if gram in b)
    norms = [math.sqrt(sum(weight * weight for weight in side.values())) for side in (a, b)]
    return dot / (norms[0] * norms[1]) if all(norms) else 0.0


def cider_d(reply: Words, references: Sequence[Words], known: Rarity) -> float:
    """CIDEr-D of one reply, 0 to 10; that of a corpus is the mean."""
    own, score = weights(reply, known), 0.0
    for reference in references:
        apart = max(0, len(reply) - 1) - max(0, len(reference) - 1)  # lengths are counted in pairs of words
        alike = [likeness(a, b) for a, b in zip(own, weights(reference, known), strict=True)]
        score += sum(alike) / len(alike) * math.exp(-(apart**2) / (2 * SIGMA**2))
    return SCALE * score / len(references)
