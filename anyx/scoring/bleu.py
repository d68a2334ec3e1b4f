"""BLEU of tokens: shares of n-grams that stand in a reference, times a penalty for being short (Papineni, 2002).

A reply's n-grams count as often as one of its references has them. The length to be compared with is that of the
reference whose length is closest, the shorter of two.

Letters: k images, n words of an n-gram, 1 to 4.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

NUMBERS = (1, 2, 3, 4)  # words of n-grams
TINY, SMALL = 1e-15, 1e-9  # what COCO's scorer adds to matches and to guesses

Words = Sequence[str]


class Matches(NamedTuple):
    """What BLEU counts: n-grams found and written, for n = 1 to 4, and the lengths of reply and closest reference."""

    found: tuple[int, ...]
    written: tuple[int, ...]
    length: int
    closest: int


def ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    """How often each run of n words occurs."""
    return Counter(tuple(words[place : place + n]) for place in range(len(words) - n + 1))


def matches(reply: Words, references: Sequence[Words]) -> Matches:
    """Count one reply against its references, of which there is at least one."""
    found, written = [], []
    for n in NUMBERS:
        own = ngrams(reply, n)
        most: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            most |= ngrams(reference, n)
        found.append((own & most).total())
        written.append(own.total())
    closest = min((len(reference) for reference in references), key=lambda length: (abs(length - len(reply)), length))
    return Matches(tuple(found), tuple(written), len(reply), closest)


def together(counts: Sequence[Matches]) -> Matches:
    """The counts of a corpus."""
    found, written = (tuple(map(sum, zip(*(one[place] for one in counts), strict=True))) for place in (0, 1))
    return Matches(found, written, sum(one.length for one in counts), sum(one.closest for one in counts))


def bleu(counts: Matches) -> list[float]:
    """BLEU-1 to BLEU-4 of one reply or a corpus as COCO's scorer (pycocoevalcap) has them, which adds tiny numbers."""
    scores, product = [], 1.0
    ratio = (counts.length + TINY) / (counts.closest + SMALL)
    penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    for n, found, written in zip(NUMBERS, counts.found, counts.written, strict=True):
        product *= (found + TINY) / (written + SMALL)
        scores.append(product ** (1 / n) * penalty)
    return scores


def plain_bleu(counts: Matches) -> float:
    """BLEU-4 of one reply with nothing added, as NLTK's `sentence_bleu`: 0 where some n has no match."""
    if not all(counts.found):
        return 0.0
    logs = [math.log(found / written) for found, written in zip(counts.found, counts.written, strict=True)]
    return math.exp(sum(logs) / len(logs) + min(0.0, 1 - counts.closest / counts.length))
