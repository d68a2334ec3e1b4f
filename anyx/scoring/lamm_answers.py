"""How the LAMM benchmark of 2023 reads answers (`lamm@2023`): labels, numbers, choices, and quoted text.

These are its rules, not good ones: a synonym counts only if it is of the label's first meaning in WordNet, a number
only as a word of its own, a choice only in the spellings listed. A score under other rules is another score.

`lemmas.json` has, for the labels of CIFAR-10, VOC 2012 and CelebA's hair, the words of that meaning and the forms that
WordNet 3.0 leads back to each, so that WordNet need not be there. A label that it has not is its own only word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from anyx.scoring.ptb import words

PARSER = "lamm@2023"
NUMBERS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
]  # fmt: skip
CHOICES = (r"The answer is \(?([A-Z])\)?\W", r"ANSWER: \(?([A-Z])\)?\W", r"\(([A-Z])\)")

Synonyms = Mapping[str, Mapping[str, Sequence[str]]]  # label -> word -> its other forms


@cache
def lemmas() -> Synonyms:
    """The words and forms of the labels that the benchmark asks for."""
    found: Synonyms = json.loads(Path(__file__).with_name("lemmas.json").read_text(encoding="utf-8"))
    return found


def words_of(label: str, synonyms: Synonyms | None = None) -> Mapping[str, Sequence[str]]:
    """The words that name a label, and their forms; in lower case."""
    table = lemmas() if synonyms is None else synonyms
    return table.get(label.lower(), {label.lower(): [f"{label.lower()}s"]})


def says(label: str, text: str, synonyms: Synonyms | None = None) -> bool:
    """Whether a word of the text, in any form, names the label."""
    known = words_of(label, synonyms)
    return bool({form for word, forms in known.items() for form in (word, *forms)} & set(words(text)))


def mentions(label: str, text: str, synonyms: Synonyms | None = None) -> bool:
    """Whether a name of the label, in any form, is in the text as whole words: `cat` is not in `located`."""
    names = {form for word, forms in words_of(label, synonyms).items() for form in (word, *forms)}
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text.lower()) for name in names)


def smiling(text: str) -> str:
    """`-1` where `no` or `not` is a word of the text, else `1`: `isn't` and `nothing` are a smile."""
    return "-1" if {"no", "not"} & set(words(text)) else "1"


def number(text: str) -> int | None:
    """The first word that is a number, in digits or spelt out up to twenty, or `no`; with a comma or dot it is none."""
    for word in text.lower().split():
        if word.isdecimal():
            return int(word)
        if word in NUMBERS or word == "no":
            return 0 if word == "no" else NUMBERS.index(word)
    return None


def quoted(text: str) -> str:
    """What stands between double quotes, or all of a text without them."""
    return " ".join(re.findall(r'"(.*?)"', text)) or text


def chosen(text: str, options: Sequence[str], right: int) -> bool:
    """Whether the letter of the right option is said, else whether its text stands alone of all the options'.

    Letters are read as `The answer is (X)`, else `ANSWER: X`, else `(X)`, with something after them; case counts.
    """
    for pattern in CHOICES:
        if found := re.search(pattern, text):
            return ord(found[1]) - ord("A") == right
    return [place for place, option in enumerate(options) if option in text] == [right]
