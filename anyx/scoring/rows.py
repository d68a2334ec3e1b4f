"""Rows to score, plain mappings as a JSONL record holds them: what they must hold, their answers, their subsets.

What a row holds is checked before anything is scored, for a text where a list of texts should be is a list of letters.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np

Row = Mapping[str, Any]


class Kind(NamedTuple):
    """What a row holds at `key`: `said` in words, and whether a value is such."""

    key: str
    said: str
    fits: Callable[[Any], bool]


def text(key: str) -> Kind:
    """A text at the key, perhaps an empty one."""
    return Kind(key, "a text", lambda value: isinstance(value, str))


def texts(key: str) -> Kind:
    """One text or more; a text alone, of which each letter would be one, is none."""
    return Kind(key, "a list of one text or more", lambda value: is_texts(value) and len(value) > 0)


def number(key: str) -> Kind:
    """A number; true and false are none."""
    return Kind(key, "a number", _is_number)


def whole(key: str) -> Kind:
    """A whole number, as 3, 3.0 or "3"."""
    return Kind(key, "a whole number", _is_whole)


def numbers(key: str, least: int, most: int | None = None) -> Kind:
    """A list of `least` numbers, or up to `most`."""
    most = least if most is None else most
    said = f"{least} numbers" if least == most else f"{least} to {most} numbers"
    return Kind(key, said, lambda value: are_numbers(value, least, most))


def listed(key: str) -> Kind:
    """A list, of whatever."""
    return Kind(key, "a list", is_list)


def is_list(value: object) -> bool:
    """Whether a value is a list or the like; a text is none."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str | bytes)


def is_texts(value: Any) -> bool:
    """Whether a value is a list of texts, perhaps an empty one."""
    return is_list(value) and all(isinstance(one, str) for one in value)


def are_numbers(value: Any, least: int, most: int) -> bool:
    """Whether a value is a list of so many numbers."""
    return is_list(value) and least <= len(value) <= most and all(map(_is_number, value))


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return value.isdecimal()
    return isinstance(value, Integral | float) and not isinstance(value, bool) and float(value).is_integer()


def checked(metric: str, rows: Sequence[Any], *keys: str | Kind, one: str = "row") -> None:
    """ValueError where a row (or whatever `one` is) is no mapping, lacks a key, or holds another kind of thing."""
    kinds = [key if isinstance(key, Kind) else Kind(key, "", lambda value: True) for key in keys]
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ValueError(f"{metric}: {one} {place} is {reprlib.repr(row)}; it has to be a mapping of keys")
        missing = [kind.key for kind in kinds if kind.key not in row]
        if missing:
            named = ", ".join(kind.key for kind in kinds)
            raise ValueError(f"{metric}: {one} {place} has no {', '.join(missing)}; a {one} holds {named}")
        for kind in kinds:
            if not kind.fits(row[kind.key]):
                found = reprlib.repr(row[kind.key])
                raise ValueError(f"{metric}: {one} {place} has {kind.key} {found}; it has to be {kind.said}")


def needed(metric: str, rows: Sequence[Row], *keys: str | Kind) -> None:
    """ValueError where there are no rows, or one lacks a key, or does not hold there what the kind says."""
    if not rows:
        raise ValueError(f"{metric}: no rows to score")
    checked(metric, rows, *keys)


def answered(metric: str, rows: Sequence[Row], *keys: str | Kind) -> list[str]:
    """The `prediction` of each row, which has to be a text, perhaps an empty one; ValueError also as `needed` says."""
    needed(metric, rows, text("prediction"), *keys)
    return [row["prediction"] for row in rows]


def among(metric: str, rows: Sequence[Row], key: str, options: str) -> None:
    """ValueError where the whole number that a row holds at `key` is no place, from 0 on, among its `options`."""
    for place, row in enumerate(rows):
        if not 0 <= int(row[key]) < len(row[options]):
            raise ValueError(
                f"{metric}: the {key} of row {place} is {row[key]!r}, but it has {len(row[options])} {options}; "
                f"allowed: 0 to {len(row[options]) - 1}"
            )


def mean(values: Sequence[float]) -> float | None:
    """The mean, None of nothing."""
    return sum(values) / len(values) if values else None


def ratio(part: float, whole: float) -> float:
    """A share, 0 of nothing, as published scorers print it."""
    return part / whole if whole else 0.0


def subsets(rows: Iterable[Row], key: str) -> dict[str, list[int]]:
    """The places of the rows by what they hold at `key`, in order of first sight; rows without it are in none."""
    found: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        if key in row:
            found.setdefault(str(row[key]), []).append(place)
    return found


def means(items: Sequence[float], rows: Sequence[Row], key: str) -> dict[str, float | None]:
    """The mean of the rows' items by what the rows hold at `key`."""
    return {name: mean([items[place] for place in places]) for name, places in subsets(rows, key).items()}
