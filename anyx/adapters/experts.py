"""A mixture of LoRA experts, chosen by the instruction of a conversation (Octavius, arXiv 2311.02684).

Every named linear map gets low-rank experts beside it. Which of them are heard, and how loudly, is the same for a whole
row and all layers: a gate reads the mean input embedding of the words before the first answer, and of its softmax
the `top` largest are kept and made to sum to 1. Published is that the instance's instruction decides, and not each
token; the mean as its summary, one gate for all layers and no balancing loss are our choices.

Letters: b rows, s positions, e experts, r rank, i o widths of a map, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.adapters.body import FRAME, Body, plant
from anyx.interfaces import Adapter, Layout, Placed, Reading
from anyx.signatures import Count


class Experts(nn.Module):
    """`count` low-rank maps beside one linear map; the second halves are zero in the beginning."""

    def __init__(self, dim_in: int, dim_out: int, count: int, r: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.scale = alpha / r
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Parameter(torch.empty(count, r, dim_in))
        self.up = nn.Parameter(torch.zeros(count, dim_out, r))
        nn.init.uniform_(self.down, -(dim_in**-0.5), dim_in**-0.5)  # as PEFT begins LoRA

    def forward(self, x: Float[Tensor, "b s i"], gates: Float[Tensor, "b e"]) -> Float[Tensor, "b s o"]:
        """The sum of the experts by their gates."""
        low = torch.einsum("bsi,eri->bser", self.dropout(x), self.down) * gates[:, None, :, None]
        return self.scale * torch.einsum("bser,eor->bso", low, self.up)


class LoraExperts(Adapter):
    """`experts` of rank `r` beside each of `modules` in every layer, `top` of them heard in each conversation."""

    hears = False

    def __init__(
        self,
        body: Body,
        name: str,
        *,
        modules: Sequence[str],
        r: Count,
        alpha: float | None = None,
        experts: Count = 4,
        top: Count = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not modules or not 1 <= top <= experts or r < 1:
            told = f"modules: {list(modules)}, r: {r}, top: {top}, experts: {experts} given"
            raise ValueError(f"{told}; name modules, a rank of 1 or more, and no more at the top than there are")
        if top == 1 < experts:
            raise ValueError(
                f"top: 1 of experts: {experts} given; its share would always be 1, and the gate learn nothing"
            )
        self.name, self.dim, self.top = name, body.dim, top
        self.gate = nn.Linear(body.dim, experts, bias=False)
        self.layers = nn.Module()
        for index in range(len(body.layers)):
            for path, module in body.modules(list(modules), index).items():
                if not isinstance(module, nn.Linear):
                    raise ValueError(f"modules: {path} is a {type(module).__name__}, no linear map")
                made = Experts(module.in_features, module.out_features, experts, r, alpha or r, dropout)
                plant(self.layers, f"{index}.{path}", made)
                body.claim(module, name)
                module.register_forward_hook(partial(beside, name, made), prepend=True)

    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """Each row's gates, by its instruction."""
        asked = layout.asked[..., None].to(self.gate.weight.dtype)
        words = layout.embeddings.to(self.gate.weight.dtype)
        mean = (words * asked).sum(1) / asked.sum(1).clamp(min=1)
        shares, chosen = self.gate(mean).softmax(-1).topk(self.top, -1)
        gates = torch.zeros(len(mean), self.gate.out_features, dtype=shares.dtype, device=shares.device)
        return Reading({"gates": gates.scatter(1, chosen, F.normalize(shares, p=1, dim=-1))})


def beside(name: str, experts: Experts, module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
    """After a linear map: the experts' sum; nothing in a call that says no gates."""
    frame = FRAME.get()
    if frame is None or "gates" not in frame.of(name):
        return None
    gates: Any = frame.of(name)["gates"]
    more: Tensor = experts(given[0].to(gates.dtype), gates)
    return output + more.to(output.dtype)
