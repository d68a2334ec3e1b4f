"""How benchmarks say a ratio: of pairs that ran one after the other, the median and the quartiles."""

import statistics
from collections.abc import Sequence
from typing import Any


def compared(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """Seconds of both sides of each pair -> the ratio first / second, its quartiles, the median seconds."""
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "ratio": round(middle, 3),
        "quartiles": [round(low, 3), round(high, 3)],
        "seconds": [round(statistics.median(side), 4) for side in (first, second)],
        "pairs": len(ratios),
    }


def goal(
    text: str, found: dict[str, Any], *, most: float | None = None, least: float | None = None, note: str = ""
) -> dict[str, Any]:
    """A goal of `make bench`: a comparison held against the most, or the least, that it may be."""
    bar = most if most is not None else least
    assert bar is not None
    met = found["ratio"] <= bar if most is not None else found["ratio"] >= bar
    return {
        "goal": text,
        "bar": f"{'<=' if most is not None else '>='} {bar:.3g}",
        "value": found["ratio"],
        "quartiles": found["quartiles"],
        "pairs": found["pairs"],
        "met": met,
        "note": note,
    }
