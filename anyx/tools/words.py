"""Things of a vocabulary in a text, with the words around them: where, how many are said, in which colour.

The vocabulary is CHAIR's table (name -> its words), and things are read as CHAIR reads them. Everything is rules over
English words: no grammar is known, so that a noun phrase is what begins with an article or a number, three words before
the thing at most.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from anyx.scoring.chair import Phrases, phrases, places

TOKEN = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
COUNTED = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
ARTICLES = frozenset({
    "a", "an", "the", "this", "that", "these", "those", "some", "any", "no", "several", "many", "few", "his", "her",
    "its", "their", "our", "my", "your", "another", "each",
})  # fmt: skip
JOINTS = frozenset({
    "and", "or", "nor", "with", "without", "on", "onto", "in", "into", "inside", "at", "by", "near", "beside",
    "besides", "beneath", "behind", "under", "over", "above", "below", "between", "among", "around", "along",
    "across", "next", "to", "front", "of", "top", "from", "as", "well", "for", "while",
})  # fmt: skip
COLOURS = frozenset({
    "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey", "gray",
})  # fmt: skip
IRREGULAR = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "foot": "feet", "tooth": "teeth",
    "mouse": "mice", "goose": "geese", "knife": "knives", "leaf": "leaves", "sheep": "sheep", "fish": "fish",
}  # fmt: skip
BEFORE = 3  # words of a noun phrase before the thing itself, at most


class Mention(NamedTuple):
    """A thing in a text: its name, the characters of its noun phrase and its words, and what is said of it.

    `number` are the characters of a number, `amount` the number, `colour` the characters of a colour, (0, 0) of none.
    """

    name: str
    phrase: tuple[int, int]
    words: tuple[int, int]
    number: tuple[int, int] = (0, 0)
    amount: int | None = None
    colour: tuple[int, int] = (0, 0)


def vocabulary(words: Sequence[str] | Mapping[str, Sequence[str]]) -> Phrases:
    """Names, or names with their synonyms, as things are looked up by."""
    return phrases(words if isinstance(words, Mapping) else {word: () for word in words})


def mentions(text: str, known: Phrases) -> list[Mention]:
    """The things of a text, in order."""
    spans = [match.span() for match in TOKEN.finditer(text)]
    tokens = [text[first:last].lower() for first, last in spans]
    found, free = list[Mention](), 0
    for place, size, name in places(tokens, known):
        first, last = spans[place][0], spans[place + size - 1][1]
        begins = _begin(text, tokens, spans, place, free)
        inside = range(begins, place)
        numbers = [at for at in inside if number(tokens[at]) is not None]
        colours = [at for at in inside if tokens[at] in COLOURS]
        said = spans[numbers[0]] if numbers else (0, 0)
        count = number(tokens[numbers[0]]) if numbers else None
        colour = spans[colours[-1]] if colours else (0, 0)
        found.append(Mention(name, (spans[begins][0], last), (first, last), said, count, colour))
        free = place + size
    return found


def number(word: str) -> int | None:
    """What number a word says; None of another. "no" and articles are none."""
    if word.isdecimal():
        return int(word)
    return COUNTED.index(word) if word in COUNTED[1:] else None


def spelt(count: int, like: str) -> str:
    """A number in the form of another: in digits, in words as far as they go, with a capital."""
    if like.isdecimal() or count >= len(COUNTED):
        return str(count)
    return COUNTED[count].capitalize() if like[:1].isupper() else COUNTED[count]


def ending_of(word: str, known: Phrases) -> str:
    """What a thing's words have behind those of the vocabulary: "s", "es", or nothing."""
    *first, last = TOKEN.findall(word.lower())
    ends = (one for one in ("", "s", "es") if last.endswith(one) and (*first, last.removesuffix(one)) in known)
    return next(ends, "")


def several(word: str, known: Phrases) -> bool:
    """Whether a thing's words are a plural."""
    return bool(ending_of(word, known)) or TOKEN.findall(word.lower())[-1] in IRREGULAR.values()


def inflected(word: str, name: str, count: int, known: Phrases) -> str:
    """A thing's words for one or for several, which they are not yet perhaps."""
    if several(word, known) == (count != 1):
        return word
    if count != 1:
        return plural(word)
    ending = ending_of(word, known)
    return word[: -len(ending)] if ending else name


def plural(word: str) -> str:
    """The plural of a word: of a few by heart, else by its ending."""
    if word.lower() in IRREGULAR:
        return IRREGULAR[word.lower()]
    if re.search("[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _begin(text: str, tokens: list[str], spans: list[tuple[int, int]], place: int, free: int) -> int:
    """Where the noun phrase of a thing begins: at an article or number that is near, else at a colour before it."""
    at, coloured = place, place
    while at > max(free, place - BEFORE) and not text[spans[at - 1][1] : spans[at][0]].strip():
        word = tokens[at - 1]
        if word in JOINTS:
            break
        at -= 1
        if word in COLOURS and at == coloured - 1:
            coloured = at
        if number(word) is not None:
            return at - 1 if at > free and tokens[at - 1] in ARTICLES else at
        if word in ARTICLES:
            return at
    return coloured
