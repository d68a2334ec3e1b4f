"""Tables of key patterns: which tensor of a published file is which of ours, and what shape it has.

A `Layout` is one spelling of a file, a list of rules. A rule says the name there, the name here and the shape:

    Rule("layers.{layer}.{side}_proj.lora_A.default.weight", "llm.lora.{layer}.{side}_proj.lora_A.weight", "r d")

`{layer}` counts from 0, `{side}` is one of `words["side"]`; a shape is letters, numbers and multiples ("3*h h"). What
the letters are, and how far the counts go, is read from the names and shapes that are there, the majority's word where
they disagree; then every name and every shape of the layout is known, and a file has these and no others. A layout is
read from either side, so that the way back is held as strictly.

Rules of a `group` are of tensors that some files lack: all of them or none. With `every`, the rule's places count in
steps from `first`: cross-attention in layers 0, 2, 4, ...

Letters: those of the rules.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Rule:
    """A kind of tensor: its name in the published file, its name here, its shape."""

    theirs: str
    ours: str
    shape: str
    group: str = ""
    every: int = 1
    first: int = 0


@dataclass(frozen=True)
class Layout:
    """One spelling of a file; `words` are the places of names that do not count, `said` sizes it is of."""

    rules: Sequence[Rule]
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    said: Mapping[str, int] = field(default_factory=dict)

    def expand(
        self, sizes: Mapping[str, int], *, back: bool = False, groups: Collection[str] | None = None
    ) -> dict[str, tuple[str, Shape]]:
        """Every tensor of a file of these sizes: its name there -> its name here and shape; `back` from here to there.

        `sizes` are numbers for the letters of shapes and for how far the places of names count; `groups` are those that
        the file has, all unless given.
        """
        found = {}
        for rule in self.rules:
            if rule.group and groups is not None and rule.group not in groups:
                continue
            shape = tuple(_evaluate(term, sizes) for term in rule.shape.split())
            places = dict.fromkeys(PLACE.findall(rule.theirs))
            numbers = [self.words.get(place) or range(rule.first, sizes[place], rule.every) for place in places]
            for values in product(*numbers):
                chosen = dict(zip(places, values, strict=True))
                theirs, ours = rule.theirs.format(**chosen), rule.ours.format(**chosen)
                found[ours if back else theirs] = (theirs if back else ours, shape)
        return found

    def classify(self, shapes: Shapes, *, back: bool = False) -> Match:
        """Hold the names and shapes of a file against the layout; on the way `back` the names are ours."""
        votes: dict[str, Counter[int]] = {}
        furthest: dict[str, int] = {}
        groups = set[str]()
        for rule, places, shape in self._known(shapes, back=back):
            groups.add(rule.group)
            for place, value in places.items():
                if place not in self.words:
                    furthest[place] = max(furthest.get(place, 0), int(value) + 1)
            terms = rule.shape.split()
            for term, size in zip(terms, shape, strict=False) if len(terms) == len(shape) else ():
                factor, letter = _term(term)
                if letter and size % factor == 0:
                    votes.setdefault(letter, Counter())[size // factor] += 1
        sizes = {letter: counter.most_common(1)[0][0] for letter, counter in votes.items()} | furthest
        least = 1 + max(rule.first for rule in self.rules)
        expected = self.expand(dict.fromkeys(self.letters(), least) | sizes, back=back, groups=groups)
        wrong = {
            name: (shape, expected[name][1])
            for name, shape in shapes.items()
            if name in expected and tuple(shape) != expected[name][1]
        }
        return Match(
            names={name: other for name, (other, _) in expected.items() if name in shapes},
            sizes={**sizes, **self.said},
            unknown=tuple(name for name in shapes if name not in expected),
            missing=tuple(name for name in expected if name not in shapes),
            misshaped=wrong,
        )

    def letters(self) -> list[str]:
        """All letters of shapes and places of names that count."""
        terms = [letter for rule in self.rules for term in rule.shape.split() if (letter := _term(term)[1])]
        places = [place for rule in self.rules for place in PLACE.findall(rule.theirs) if place not in self.words]
        return list(dict.fromkeys((*terms, *places)))

    def _known(self, shapes: Shapes, *, back: bool) -> Iterator[tuple[Rule, dict[str, str], Shape]]:
        """The names that a rule knows, with what stands in its places."""
        patterns = [(rule, re.compile(self._pattern(rule.ours if back else rule.theirs))) for rule in self.rules]
        for name, shape in shapes.items():
            for rule, pattern in patterns:
                if match := pattern.fullmatch(name):
                    yield rule, match.groupdict(), tuple(shape)
                    break

    def _pattern(self, name: str) -> str:
        """A name with places as a regular expression; a place that stands twice has one value."""
        pattern, seen = "", set[str]()
        for part in re.split(r"(\{\w+\})", name):
            place = part.strip("{}")
            if not PLACE.fullmatch(part):
                pattern += re.escape(part)
            elif place in seen:
                pattern += f"(?P={place})"
            else:
                choices = "|".join(map(re.escape, self.words[place])) if place in self.words else r"0|[1-9]\d{0,3}"
                pattern += f"(?P<{place}>{choices})"
                seen.add(place)
        return pattern


@dataclass(frozen=True)
class Match:
    """What a layout makes of a file: names there -> here, the sizes read from it, and what does not fit."""

    names: Mapping[str, str]
    sizes: Mapping[str, int]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    misshaped: Mapping[str, tuple[Shape, Shape]]  # name -> the shape given, the shape expected

    @property
    def faults(self) -> int:
        """How many names do not fit."""
        return len(self.unknown) + len(self.missing) + len(self.misshaped)


class KeysError(ValueError):
    """A file that is not of a system: `match` holds every name that does not fit, the message the first of them."""

    def __init__(self, what: str, match: Match) -> None:
        wrong = [
            f"{name} is {size(given)} instead of {size(expected)}"
            for name, (given, expected) in match.misshaped.items()
        ]
        lines = [f"{what}:"]
        for title, names in (("unknown", match.unknown), ("missing", match.missing), ("misshaped", wrong)):
            lines += [f"  {title} ({len(names)}): {_some(names)}"] if names else []
        super().__init__("\n".join(lines))
        self.match = match


def best(layouts: Mapping[str, Layout], shapes: Shapes, what: str, *, back: bool = False) -> tuple[str, Match]:
    """The layout that fits and its match; `KeysError` against the nearest where none does."""
    matches = {name: layout.classify(shapes, back=back) for name, layout in layouts.items()}
    name, match = min(matches.items(), key=lambda item: item[1].faults)
    if match.faults:
        raise KeysError(f"{what} (held against its layout '{name}')", match)
    return name, match


def size(shape: Sequence[int]) -> str:
    """(4096, 1024) -> 4096 x 1024."""
    return " x ".join(map(str, shape)) or "a number"


def _some(names: Sequence[str], most: int = 24) -> str:
    more = f" ... and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _term(term: str) -> tuple[int, str]:
    """`h` -> (1, "h"), `3*h` -> (3, "h"), `77` -> (77, "")."""
    factor, star, letter = term.rpartition("*")
    if star:
        return int(factor), letter
    return (int(term), "") if term.isdecimal() else (1, term)


def _evaluate(term: str, sizes: Mapping[str, int]) -> int:
    factor, letter = _term(term)
    return factor * (sizes[letter] if letter else 1)
