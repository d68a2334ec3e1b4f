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
