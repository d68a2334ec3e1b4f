"""Reference names beside our parameters: what golden tests of models inside an LLM load and compare by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from anyx.converters import meta

Change = Callable[[Tensor], Tensor]


def same(tensor: Tensor) -> Tensor:
    return tensor


def halves(heads: int) -> Change:
    """Rows of queries and keys from rotated pairs (Meta's LLaMA) to rotated halves (transformers')."""
    return partial(meta.halves, heads=heads)


class Joined:
    """Several parameters that the reference holds as one, each after the other in its first dimension."""

    def __init__(self, *parameters: nn.Parameter) -> None:
        self.parameters = parameters

    @property
    def grad(self) -> Tensor | None:
        found = [parameter.grad for parameter in self.parameters]
        return None if None in found else torch.cat(found)  # type: ignore[arg-type]

    def load(self, value: Tensor) -> None:
        for parameter, part in zip(self.parameters, value.split([len(p) for p in self.parameters]), strict=True):
            parameter.data.copy_(part)


class Renamed:
    """Parameters by reference names, for `Case.compare_gradients`; norms of gradients do not mind their order."""

    def __init__(self) -> None:
        self.found: dict[str, nn.Parameter | Joined] = {}
        self.changes: dict[str, Change] = {}

    def add(self, name: str, parameter: nn.Parameter | Joined, change: Change = same) -> None:
        self.found[name], self.changes[name] = parameter, change

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Every weight must have its parameter, and every parameter its weight."""
        assert weights.keys() == self.found.keys(), sorted(weights.keys() ^ self.found.keys())
        for name, parameter in self.found.items():
            value = self.changes[name](weights[name])
            if isinstance(parameter, Joined):
                parameter.load(value)
            else:
                parameter.data.copy_(value.reshape(parameter.shape))

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter | Joined]]:
        yield from self.found.items()
