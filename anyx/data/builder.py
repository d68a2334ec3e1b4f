"""Instruction dialogues from pairs of a medium and its caption, by templates that are data.

`configs/data/dialogues.yaml` says what the templates may hold. A dialogue of a kind needs what its templates name: a
medium that the user sends (`{in}`), one that is shown (`{out}`), another one of another kind (`{next}`). What is shown
carries the pair's caption for a text encoder to teach from, and the pair's file where there is one of that kind that
the user did not send. Everything is decided by the seed and the number of the pair.
"""

from __future__ import annotations

import random
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from anyx import yamls
from anyx.data.native import Tally
from anyx.data.pairs import drawn, pair_of
from anyx.data.sources import Record
from anyx.data.turns import Part, message

MARK = re.compile(r"\s*\{(in|out|next)\}\s*|\{([\w.]*)\}")  # a medium with the space around it, or words
MEDIA = {"in": "user", "out": "assistant", "next": "assistant"}  # who sends or shows it
SECTIONS = ("words", "keywords", "dialogues")
CAPTIONS = ("caption", "Caption", "keywords")


class Kind(NamedTuple):
    """A kind of dialogue: how often, the ways to say each turn, and the media it needs, in order."""

    weight: float
    turns: Sequence[Sequence[str]]
    media: tuple[str, ...]


@dataclass(frozen=True)
class Templates:
    """Kinds of dialogue, and the words for each key of media."""

    kinds: Mapping[str, Kind]
    words: Mapping[str, Mapping[str, Sequence[str]]]
    most: int
    skip: Collection[str]
    outputs: Sequence[str]  # what may be asked for

    @classmethod
    def read(cls, path: str | Path | None = None) -> Templates:
        """Templates from a YAML, by default the shipped one; every mistake is named at once."""
        place = Path(str(files("anyx.configs") / "data/dialogues.yaml")) if path is None else Path(path)
        raw = yamls.read(place)
        errors = [f"{name}: is not one of {', '.join(SECTIONS)}" for name in raw if name not in SECTIONS]
        try:
            words = {key: {name: ways(said) for name, said in table.items()} for key, table in raw["words"].items()}
            kinds = {}
            for name, node in raw["dialogues"].items():
                turns = [ways(turn) for turn in node["turns"]]
                kinds[name] = Kind(float(node.get("weight", 1)), turns, media_of(turns))
                errors += [f"dialogues.{name}: {text}" for text in mistakes(kinds[name], words)]
            keywords = raw.get("keywords") or {}
            most, skip = int(keywords.get("most", 5)), frozenset(map(str, keywords.get("skip", ())))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{place}: it has not the shape of templates: {error!r}") from error
        if errors:
            raise ValueError("\n".join(f"{place}: {text}" for text in errors))
        return cls(kinds, words, most, skip, list(words))

    def only(self, kinds: Sequence[str], outputs: Sequence[str]) -> Templates:
        """The same with these kinds and outputs alone; none given: all."""
        for name, given, known in (("kinds", kinds, self.kinds), ("outputs", outputs, self.words)):
            for item in given:
                if item not in known:
                    raise ValueError(f"{name}: {item!r} is not one of {', '.join(known)}")
        chosen = {name: kind for name, kind in self.kinds.items() if not kinds or name in kinds}
        return replace(self, kinds=chosen, outputs=list(outputs) or self.outputs)

    def keywords(self, caption: str, rng: random.Random) -> list[str]:
        """Some words of a caption, in any order; none where it has fewer than two."""
        found = [word for word in re.findall(r"\w[\w'-]*", caption) if word.lower() not in self.skip]
        found = list(dict.fromkeys(found))
        return rng.sample(found, min(self.most, len(found))) if len(found) > 1 else []


def ways(value: Any) -> list[str]:
    """One way to say something, or several."""
    return [value] if isinstance(value, str) else [str(way) for way in value]


def media_of(turns: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The media that the first way of each turn holds, in order."""
    return tuple(match[1] for turn in turns for match in MARK.finditer(turn[0]) if match[1])


def mistakes(kind: Kind, words: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[str]:
    """What is wrong with a kind of dialogue."""
    if not kind.turns or len(kind.turns) % 2:
        yield "its last turn is not the assistant's"
    if len(set(kind.media)) < len(kind.media):
        yield "a medium stands in it twice"
    if "next" in kind.media and "out" not in kind.media:
        yield "{next} is another one than {out}, which is missing"
    for number, turn in enumerate(kind.turns):
        role = "assistant" if number % 2 else "user"
        if len({media_of([[way]]) for way in turn}) > 1:
            yield f"turn {number + 1}: its ways hold different media"
        for match in (match for way in turn for match in MARK.finditer(way)):
            owner, _, word = (match[2] or "").partition(".")
            lacking = [key for key, table in words.items() if not table.get(word.lower())]
            if match[1] and MEDIA[match[1]] != role:
                yield f"turn {number + 1}: {{{match[1]}}} stands in a turn of the {role}"
            elif not match[1] and match[2] not in CAPTIONS and not (word and owner in kind.media):
                yield f"turn {number + 1}: {{{match[2]}}} is none of {', '.join(CAPTIONS)} or a word of a medium here"
            elif word and lacking:
                yield f"turn {number + 1}: {{{match[2]}}}: words.{lacking[0]}.{word.lower()} is missing"


def dialogue(record: Record, templates: Templates, rng: random.Random) -> Record:
    """A dialogue about a pair; ValueError where none can be made of it."""
    sources, caption = pair_of(record)
    sources = {key: source for key, source in sources.items() if key in templates.words}
    caption = " ".join(caption.split()).rstrip(".!").strip()
    if not caption or not sources:
        raise ValueError(f"{record['id']}: a pair needs a caption and a medium of {', '.join(templates.words)}")
    keywords = templates.keywords(caption, rng)
    able = []
    outputs = templates.outputs
    for name, kind in templates.kinds.items():
        needs = len({"out", "next"}.intersection(kind.media))
        if len(outputs) >= needs and (keywords or not any("{keywords}" in way for turn in kind.turns for way in turn)):
            able.append(name)
    if not able:
        raise ValueError(f"{record['id']}: no dialogue can be made of {caption!r} with outputs {', '.join(outputs)}")
    chosen = rng.choices(able, [templates.kinds[name].weight for name in able])[0]
    kind = templates.kinds[chosen]
    keys = chosen_keys(kind, sorted(sources), outputs, rng)
    parts = {name: part_of(name, key, keys, sources, caption, rng) for name, key in keys.items()}
    said = {"caption": caption, "Caption": f"{caption[0].upper()}{caption[1:]}.", "keywords": ", ".join(keywords)}
    messages = []
    for number, turn in enumerate(kind.turns):
        made = message("assistant" if number % 2 else "user", spoken(rng.choice(turn), parts, said, templates, rng))
        words = [part["text"] for part in made["content"] if part["type"] == "text"]
        messages.append(made | ({"content": words[0]} if len(words) == len(made["content"]) else {}))
    return {"id": f"{record['id']}/{chosen}", "messages": messages}


def spoken(
    way: str, parts: Mapping[str, Part], said: Mapping[str, str], templates: Templates, rng: random.Random
) -> list[Part | str]:
    """A way to say a turn with everything in its place; a word for a kind of media is drawn once."""
    content: list[Part | str] = []
    drawn_words: dict[str, str] = {}
    place, text = 0, ""
    for match in MARK.finditer(way):
        text += way[place : match.start()]
        place = match.end()
        if match[1]:
            content += [text, parts[match[1]]]
            text = ""
        elif match[2] in said:
            text += said[match[2]]
        else:
            owner, _, word = match[2].partition(".")
            choices = templates.words[parts[owner]["type"]][word.lower()]
            found = drawn_words.setdefault(match[2].lower(), rng.choice(choices))
            text += found[0].upper() + found[1:] if word[0].isupper() else found
    return [*content, text + way[place:]]


def chosen_keys(kind: Kind, own: Sequence[str], outputs: Sequence[str], rng: random.Random) -> dict[str, str]:
    """Which key each medium of a kind has: what is shown is the pair's own where the user does not send it."""
    keys: dict[str, str] = {}
    if "in" in kind.media:
        keys["in"] = rng.choice(own)
    if "out" in kind.media:
        owned = [key for key in own if key in outputs and key != keys.get("in")]
        keys["out"] = rng.choice(owned or list(outputs))
    if "next" in kind.media:
        keys["next"] = rng.choice([key for key in outputs if key != keys.get("out")])
    return keys


def part_of(
    name: str, key: str, keys: Mapping[str, str], sources: Mapping[str, Any], caption: str, rng: random.Random
) -> Part:
    """The part of a medium: with its file where the pair has it, but never shown what was sent."""
    part = {"type": key, "caption": caption}
    if key not in sources or (name != "in" and keys.get("in") == key):
        return part
    return part | {"path": drawn(sources[key], key, rng.randrange(2**32))}


def made_of(
    records: Iterable[Record],
    templates: Templates,
    tally: Tally,
    *,
    seed: int = 0,
    copies: int = 1,
    strict: bool = False,
) -> Iterator[Record]:
    """`copies` dialogues a pair; a pair that gives none is counted in the tally or, if `strict`, raised."""
    for number, record in enumerate(records):
        try:
            for copy in range(copies):
                made = dialogue(record, templates, random.Random(f"{seed}/{number}/{copy}"))
                yield made | {"id": f"{made['id']}/{copy}"}
        except ValueError as error:
            if strict:
                raise
            tally.skip(error)
