"""An input projector: each token of an encoder is cut into pieces, and each piece becomes a token of the LLM."""

from __future__ import annotations

import torch
from torch import nn

from anyx import InputProjector, Tokens


class Split(InputProjector):
    """`pieces` LLM tokens a token, each with a learned mark of which piece it is."""

    def __init__(self, dim_in: int, dim_out: int, *, count: int = 4) -> None:
        super().__init__()
        if count < 1 or dim_in % count:
            raise ValueError(f"count: {count} given; it divides the encoder's width, {dim_in}")
        self.count = count
        self.map = nn.Linear(dim_in // count, dim_out)
        self.marks = nn.Parameter(torch.randn(count, dim_out) * 0.02)

    def forward(self, x: Tokens) -> Tokens:
        """Carry (b, n, dim_in) to (b, n * count, dim_out); what was padding stays padding."""
        pieces = x.values.reshape(*x.values.shape[:2], self.count, -1)
        values = (self.map(pieces) + self.marks).flatten(1, 2)
        return Tokens(values, x.mask.repeat_interleave(self.count, dim=1), whole=x.whole)
