"""CHAIR: how many of the objects that captions mention are not in the picture (Rohrbach, 2018).

Objects are read by a table of synonyms that is handed in: name -> its words, of one token or several. As the
published scorer, which leads words back by a library, plurals count as the word: those in `s` and `es`, `ies` of `y`,
`ves` of `f` and `fe`, `men` of `man`, and those of `IRREGULAR`. A result names these rules, for others find other
mentions. Of words that overlap the longest counts, so that a hot dog is no dog. Each mention counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from anyx.digests import digest
from anyx.scoring.ptb import cut, words
from anyx.scoring.result import Result

PLURALS = "english-1@anyx"
ENDINGS = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"))  # women, policemen
IRREGULAR = {
    "people": "person", "children": "child", "grandchildren": "grandchild", "mice": "mouse", "geese": "goose",
    "feet": "foot", "teeth": "tooth", "oxen": "ox", "dice": "die", "lice": "louse",
    "busses": "bus", "cacti": "cactus", "octopi": "octopus", "quizzes": "quiz",
}  # fmt: skip
Phrases = dict[tuple[str, ...], str]  # tokens -> object


def phrases(synonyms: Mapping[str, Sequence[str]]) -> Phrases:
    """Each name and word of the table, cut as captions are.

    ValueError: a word is of two objects, or an object has a text instead of a list of words.
    """
    found: Phrases = {}
    for name, others in synonyms.items():
        if isinstance(others, str):
            raise ValueError(f"{name!r} has {others!r}; an object has a list of words")
        for word in (name, *others):
            tokens = tuple(cut(word).split())
            if found.setdefault(tokens, name) != name:
                raise ValueError(f"{word!r} is a word of {found[tokens]!r} and of {name!r}; each word is of one object")
    return found


def mentioned(caption: str, known: Phrases) -> list[str]:
    """The objects of a caption, in order."""
    return [name for _, _, name in places(words(caption), known)]


def places(tokens: Sequence[str], known: Phrases) -> Iterator[tuple[int, int, str]]:
    """Where objects are mentioned: the first token, how many they are, the object; in order, none over another."""
    place, longest = 0, max(map(len, known), default=0)
    while place < len(tokens):
        for size in range(min(longest, len(tokens) - place), 0, -1):
            *first, last = tokens[place : place + size]
            ways = [(*first, word) for word in singulars(last)]
            if name := next((known[way] for way in ways if way in known), None):
                yield place, size, name
                place += size
                break
        else:
            place += 1


def singulars(word: str) -> Iterator[str]:
    """The word itself, then what it may be the plural of."""
    yield word
    if word in IRREGULAR:
        yield IRREGULAR[word]
    for plural, singular in ENDINGS:
        if word.endswith(plural):
            yield word.removesuffix(plural) + singular


def chair(captions: Sequence[str], objects: Sequence[Collection[str]], synonyms: Mapping[str, Sequence[str]]) -> Result:
    """CHAIR_s, the share of captions with an object that is not there, and CHAIR_i, the share of mentions that are not.

    `objects` are those in each picture, by names or words of the table; others of them are left alone.
    """
    if len(captions) != len(objects):
        raise ValueError(f"{len(captions)} captions but {len(objects)} sets of objects; each caption has one")
    for place, (caption, there) in enumerate(zip(captions, objects, strict=True)):
        if not isinstance(caption, str) or isinstance(there, str):
            raise ValueError(
                f"chair: row {place} has {caption!r} and {there!r}; a row has a text and a list of objects"
            )
    known = phrases(synonyms)
    items, said, wrong = list[float](), 0, 0
    for caption, there in zip(captions, objects, strict=True):
        real = {known.get(tuple(cut(name).split()), name) for name in there}
        names = mentioned(caption, known)
        missing = [name for name in names if name not in real]
        items.append(float(bool(missing)))
        said, wrong = said + len(names), wrong + len(missing)
    table = digest(*(part for name in sorted(synonyms) for part in (name, *synonyms[name])))[:12]
    figures = {"chair_s": sum(items) / len(items) if items else None, "chair_i": wrong / said if said else None}
    by = {"tokenizer": "ptb-lite", "plurals": PLURALS, "synonyms": f"{len(synonyms)} objects#{table}"}
    return Result(metric="chair", by=by, figures=figures, n=len(items), items=items, share=True)
