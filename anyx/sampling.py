"""How the next token is chosen: the numbers, what each may be, and how a caller's take the place of a model's own.

A YAML's `sampling` says a model's own; what it does not say is the default here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from math import inf
from numbers import Integral, Real
from typing import Any

RANGES: Mapping[str, tuple[type, Callable[[Any], bool], str]] = {
    "max_new_tokens": (Integral, lambda value: value >= 1, "a whole number, 1 or more"),
    "temperature": (Real, lambda value: 0 <= value < inf, "0 (greedy) or more"),
    "top_p": (Real, lambda value: 0 < value <= 1, "above 0 and at most 1 (all)"),
    "top_k": (Integral, lambda value: value >= 0, "a whole number, 0 (all) or more"),
    "repetition_penalty": (Real, lambda value: 0 < value < inf, "above 0; 1 is none"),
}


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy. A group counts its ids, and is always said whole.

    `repetition_penalty` looks at the words of the reply, not at the prompt.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, told in misfits(vars(self)):
            raise ValueError(f"{name}: {told}")

    def but(
        self,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
    ) -> Sampling:
        """The same with what a caller says; None leaves a number as it is."""
        return Sampling(
            self.max_new_tokens if max_new_tokens is None else max_new_tokens,
            self.temperature if temperature is None else temperature,
            self.top_p if top_p is None else top_p,
            self.top_k if top_k is None else top_k,
            self.repetition_penalty if repetition_penalty is None else repetition_penalty,
        )


def misfits(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What of these numbers cannot be, by name, with what is allowed."""
    for name, value in given.items():
        kind, fits, words = RANGES[name]
        if isinstance(value, bool) or not isinstance(value, kind) or not fits(value):
            yield name, f"{value!r} given; it is {words}"
