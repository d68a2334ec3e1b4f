"""Word error rate: how many words of a transcript were replaced, left out or put in, by the shortest way to the other.

The rate of several is the sum of errors over the sum of words, so that long ones count for more; it may be over 1.
Words are compared in lower case and without punctuation; numerals are not spelt out. A Han character is a word, which
makes this the character error rate of Chinese.

Letters: r words of the reference, w words that were written.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

DRAWS = 1000  # of the bootstrap
HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"  # with the extensions, in which names are written
WORD = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")


class WordErrors(NamedTuple):
    """Counts of one or more transcripts; `words` are those of the references."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def rate(self) -> float:
        """Errors a word; without any words, as many as were put in."""
        return (self.substitutions + self.deletions + self.insertions) / max(1, self.words)


def words_of(text: str) -> list[str]:
    """Lower-case words of letters and digits; an apostrophe within a word is dropped, a hyphen parts two.

    A letter is the same however it is encoded: with its accent or before it, of full width or not (NFKC).
    """
    return WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("\u2019", ""))


def word_errors(reference: str, written: str) -> WordErrors:
    """Align two texts by the fewest errors; among equals by the fewest insertions and deletions."""
    right, found = words_of(reference), words_of(written)
    row = [(j, 0, 0, j) for j in range(len(found) + 1)]  # (errors, substitutions, deletions, insertions) of prefixes
    for i, word in enumerate(right, 1):
        before, row = row, [(i, 0, i, 0)]
        for j, other in enumerate(found, 1):
            wrong = int(word != other)
            errors, substitutions, deletions, insertions = before[j - 1]
            replaced = (errors + wrong, substitutions + wrong, deletions, insertions)
            errors, substitutions, deletions, insertions = before[j]
            left_out = (errors + 1, substitutions, deletions + 1, insertions)
            errors, substitutions, deletions, insertions = row[j - 1]
            put_in = (errors + 1, substitutions, deletions, insertions + 1)
            row.append(min(replaced, left_out, put_in, key=lambda way: (way[0], way[2] + way[3])))
    return WordErrors(*row[-1][1:], len(right))


def total(errors: Sequence[WordErrors]) -> WordErrors:
    """The counts of several transcripts together."""
    return WordErrors(*(sum(counts) for counts in zip(*errors, strict=True))) if errors else WordErrors(0, 0, 0, 0)


def interval(errors: Sequence[WordErrors], *, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the rate, over draws of as many transcripts with replacement (bootstrap, seeded)."""
    if not errors:
        return 0.0, 1.0
    dice = random.Random(seed)
    rates = sorted(total(dice.choices(errors, k=len(errors))).rate for _ in range(DRAWS))
    return rates[round(0.025 * (DRAWS - 1))], rates[round(0.975 * (DRAWS - 1))]
