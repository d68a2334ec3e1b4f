"""What was made once and is wanted again, kept in memory up to a bound."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from torch import Tensor

V = TypeVar("V")
OBJECT = 40  # bytes, about: a number in a list


class Memory(Generic[V]):
    """Key -> value, in nested tuples, lists and mappings of tensors and plain values.

    What is past `bound` bytes, or holds anything else (decoded media, which are large), is not kept.
    """

    def __init__(self, bound: int) -> None:
        self.bound, self.bytes = bound, 0.0
        self._values: dict[Hashable, V] = {}

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def __getitem__(self, key: Hashable) -> V:
        return self._values[key]

    def keep(self, key: Hashable, value: V) -> bool:
        """Remember a value, if there is room, and say whether; what is known already stays."""
        if key in self._values or self.bytes >= self.bound:
            return False
        if self.bytes + (size := size_of(value)) > self.bound:
            return False
        self._values[key] = value
        self.bytes += size
        return True


def size_of(value: object) -> float:
    """About how many bytes a value takes; infinite for what is not kept."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, str | int | float | None):
        return OBJECT
    if isinstance(value, Mapping):
        return sum(map(size_of, value.values()))
    if isinstance(value, list) and value and isinstance(value[0], int):
        return OBJECT * len(value)
    return sum(map(size_of, value)) if isinstance(value, list | tuple) else math.inf
