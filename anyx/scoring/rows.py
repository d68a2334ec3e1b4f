"""Rows to score, plain mappings as a JSONL record holds them: what they must hold, their answers, their subsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def needed(metric: str, rows: Sequence[Row], *keys: str) -> None:
    """ValueError where there are no rows, or one lacks a key."""
    if not rows:
        raise ValueError(f"{metric}: no rows to score")
    for place, row in enumerate(rows):
        missing = [key for key in keys if key not in row]
        if missing:
            raise ValueError(f"{metric}: row {place} has no {', '.join(missing)}; a row holds {', '.join(keys)}")


def answered(metric: str, rows: Sequence[Row], *keys: str) -> list[str]:
    """The `prediction` of each row, which has to be a text, perhaps an empty one; ValueError also as `needed` says."""
    needed(metric, rows, "prediction", *keys)
    for place, row in enumerate(rows):
        if not isinstance(row["prediction"], str):
            raise ValueError(
                f"{metric}: the prediction of row {place} is {row['prediction']!r}; a prediction is a text"
            )
    return [row["prediction"] for row in rows]


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
