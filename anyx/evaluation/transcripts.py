"""Word error rate: how many words of a transcript were replaced, left out or put in, by the shortest way to the other.

The rate of several is the sum of errors over the sum of words, so that long ones count for more; it may be over 1.
Words are compared in lower case and without punctuation; numerals are not spelt out. A Han character is a word, which
makes this the character error rate of Chinese.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence

from anyx.scoring.bootstrap import edges
from anyx.scoring.edits import Edits, edits, total

DRAWS = 1000  # of the bootstrap
HAN = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"  # with the extensions, in which names are written
WORD = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")


def words_of(text: str) -> list[str]:
    """Lower-case words of letters and digits; an apostrophe within a word is dropped, a hyphen parts two.

    A letter is the same however it is encoded: with its accent or before it, of full width or not (NFKC).
    """
    return WORD.findall(unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("\u2019", ""))


def word_errors(reference: str, written: str) -> Edits:
    """Align two texts by the fewest errors."""
    return edits(words_of(reference), words_of(written))


def interval(errors: Sequence[Edits], *, seed: int = 0) -> tuple[float, float]:
    """The 95% interval of the rate, over draws of as many transcripts with replacement (bootstrap, seeded).

    Of transcripts that hang together give the total: each counts as one. One alone says little: 0 to 1, or to its rate.
    """
    if len(errors) < 2:
        return 0.0, max(1.0, total(errors).rate)
    dice = random.Random(seed)
    return edges([total(dice.choices(errors, k=len(errors))).rate for _ in range(DRAWS)], len(errors))
