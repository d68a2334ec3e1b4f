"""CHAIR: how many of the objects that captions mention are not in the picture (Rohrbach, 2018).

Objects are read by a table of synonyms that is handed in: name -> its words, of one token or several. Plurals in `s`
and `es` count as the word; of words that overlap the longest counts, so that a hot dog is no dog. Each mention counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from anyx.digests import digest
from anyx.scoring.ptb import cut
from anyx.scoring.result import Result

Phrases = dict[tuple[str, ...], str]  # tokens -> object


def phrases(synonyms: Mapping[str, Sequence[str]]) -> Phrases:
    """Each name and word of the table, cut as captions are; a ValueError where a word is of two objects."""
    found: Phrases = {}
    for name, words in synonyms.items():
        for word in (name, *words):
            tokens = tuple(cut(word).split())
            if found.setdefault(tokens, name) != name:
                raise ValueError(f"{word!r} is a word of {found[tokens]!r} and of {name!r}; each word is of one object")
    return found


def mentioned(caption: str, known: Phrases) -> list[str]:
    """The objects of a caption, in order."""
    return [name for _, _, name in places(cut(caption).split(), known)]


def places(tokens: Sequence[str], known: Phrases) -> Iterator[tuple[int, int, str]]:
    """Where objects are mentioned: the first token, how many they are, the object; in order, none over another."""
    place, longest = 0, max(map(len, known), default=0)
    while place < len(tokens):
        for size in range(min(longest, len(tokens) - place), 0, -1):
            *first, last = tokens[place : place + size]
            ways = [(*first, last.removesuffix(ending)) for ending in ("", "s", "es") if last.endswith(ending)]
            if name := next((known[way] for way in ways if way in known), None):
                yield place, size, name
                place += size
                break
        else:
            place += 1


def chair(captions: Sequence[str], objects: Sequence[Collection[str]], synonyms: Mapping[str, Sequence[str]]) -> Result:
    """CHAIR_s, the share of captions with an object that is not there, and CHAIR_i, the share of mentions that are not.

    `objects` are those in each picture, by names or words of the table; others of them are left alone.
    """
    if len(captions) != len(objects):
        raise ValueError(f"{len(captions)} captions but {len(objects)} sets of objects; each caption has one")
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
    by = {"tokenizer": "ptb-lite", "synonyms": f"{len(synonyms)} objects#{table}"}
    return Result(metric="chair", by=by, figures=figures, n=len(items), items=items, share=True)
