"""Biases and norms that learn while the rest of the LLM does not (LLaMA-Adapter V2, arXiv 2304.15010).

Each named linear map gets a bias, zero in the beginning; each norm, the last one too, a copy that takes its place. So
the LLM's own weights stay as they were published, and what was learnt is saved beside them.

Letters: b rows, s positions, o width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from anyx.adapters.body import Body, plant
from anyx.adapters.routed import bare
from anyx.interfaces import Adapter, Layout, Placed, Reading


class Bias(nn.Module):
    """What is added to a linear map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, output: Tensor) -> Tensor:
        """Add it."""
        return output + self.bias.to(output.dtype)


class Tuned(Adapter):
    """`biases` names the linear maps of every layer that get one; `norms` says whether the norms learn."""

    hears = False

    def __init__(self, body: Body, name: str, *, biases: Sequence[str] = (), norms: bool = True) -> None:
        super().__init__()
        if not biases and not norms:
            raise ValueError("biases: none named, and norms are off: nothing would learn")
        self.name, self.dim = name, body.dim
        self.layers = nn.Module()
        for index, layer in enumerate(body.layers):
            for path, module in body.modules(list(biases), index).items():
                if not isinstance(module, nn.Linear):
                    raise ValueError(f"biases: {path} is a {type(module).__name__}, no linear map")
                body.claim(module, name)
                bias = Bias(module.out_features)
                plant(self.layers, f"{index}.{path}", bias)
                module.register_forward_hook(partial(added, bias), prepend=True)
            for path, module in layer.named_modules():
                if norms and "Norm" in type(module).__name__:
                    plant(self.layers, f"{index}.{path}", self.taken(body, module))
        self.norm = self.taken(body, last) if norms and (last := body.norm) is not None else None

    def taken(self, body: Body, module: nn.Module) -> nn.Module:
        """A copy that takes a norm's place."""
        body.claim(module, self.name, alone=True)
        copy = bare(module).float()
        module.register_forward_hook(partial(instead, copy))
        return copy

    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """Nothing: it is the same for every batch."""
        return Reading()


def added(bias: Bias, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor:
    """After a linear map: its bias."""
    return bias(output)  # type: ignore[no-any-return]


def instead(copy: nn.Module, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """After a norm: what its copy makes of the same states."""
    kind = next(copy.parameters()).dtype
    return copy(given[0].to(kind)).to(output.dtype)  # type: ignore[no-any-return]
