"""What a caller or a YAML may say in numbers, each refused in one line: what was given, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def count(name: str, given: Any) -> int:
    """A whole number, 1 or more."""
    if not _whole(given) or given < 1:
        raise ValueError(f"{name}: {given!r} given; it is a whole number, 1 or more")
    return int(given)


def amount(name: str, given: Any, *, least: float = 0.0, most: float = math.inf) -> float:
    """A finite number, neither less nor more than these."""
    if not _finite(given) or not least <= given <= most:
        told = f"{least:g} or more" if most == math.inf else f"from {least:g} to {most:g}"
        raise ValueError(f"{name}: {given!r} given; it is {told}")
    return float(given)


def positive(name: str, given: Any) -> float:
    """A finite number above 0."""
    if not _finite(given) or given <= 0:
        raise ValueError(f"{name}: {given!r} given; it is more than 0")
    return float(given)


def size(given: Any, step: int) -> tuple[int, int]:
    """Height and width in pixels, both multiples of `step`, from one number or two."""
    sides = [given, given] if _whole(given) else given
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(_whole(side) for side in sides):
        raise ValueError(f"size: {given!r} given; it is a number of pixels, or height and width")
    if any(side < step or side % step for side in sides):
        raise ValueError(f"size: {given!r} given; height and width are each a multiple of {step}, {step} or more")
    return int(sides[0]), int(sides[1])


def _whole(given: Any) -> bool:
    return isinstance(given, Integral) and not isinstance(given, bool)


def _finite(given: Any) -> bool:
    return isinstance(given, Real) and not isinstance(given, bool) and math.isfinite(given)
