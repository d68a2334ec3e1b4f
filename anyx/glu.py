"""CogVLM's connector: to the LLM's width, then a gated MLP as wide as the LLM's own, between two learned vectors.

`Linear -> LayerNorm -> GELU -> silu(gate) * up -> down`, no map with a bias (arXiv 2311.03079; zai-org/CogVLM). Its boi
and eoi vectors begin at zero and stand around the tokens of each picture: 1225 patches are 1227 positions.

Letters: b media items, n encoder tokens, d width of the LLM.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from anyx.interfaces import InputProjector, Tokens

HIDDEN = 11008  # of LLaMA-7B's MLP


class GluInputProjector(InputProjector):
    """A linear map, a norm, and a gated MLP of width `hidden`; with `ends` a learned vector before and one after."""

    def __init__(self, dim_in: int, dim_out: int, *, hidden: int = HIDDEN, ends: bool = True):
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, given {hidden}")
        self.proj = nn.Linear(dim_in, dim_out, bias=False)
        self.norm = nn.LayerNorm(dim_out)
        self.gate = nn.Linear(dim_out, hidden, bias=False)
        self.up = nn.Linear(dim_out, hidden, bias=False)
        self.down = nn.Linear(hidden, dim_out, bias=False)
        self.ends = nn.Parameter(torch.zeros(2, dim_out)) if ends else None

    def forward(self, x: Tokens) -> Tokens:
        """Carry (b, n, dim_in) to (b, n, dim_out), or n + 2 with `ends`."""
        y = F.gelu(self.norm(self.proj(x.values)))
        y = self.down(F.silu(self.gate(y)) * self.up(y))
        if self.ends is None:
            return Tokens(y, x.mask, x.layout, whole=x.whole)
        first, last = (end.to(y.dtype).expand(len(y), 1, -1) for end in self.ends)
        true = x.mask.new_ones(len(y), 1)
        mask = torch.cat([true, x.mask, true], dim=1)
        return Tokens(torch.cat([first, y, last], dim=1), mask, whole=x.whole)
