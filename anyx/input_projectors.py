"""Between an encoder and the LLM: linear, mlp, stack. All carry (b, n, dim_in) to (b, m, dim_out).

`linear` and `mlp` map token by token and may expand each into several (`tokens`), for encoders that give one global
token; `stack` lays neighbours end to end. What reads any number of tokens into a fixed number is in
`anyx/resampling.py`, `anyx/queries.py` and `anyx/grouping.py`.

Letters: b media items, n encoder tokens, m LLM tokens, k tokens made of one.
"""

from __future__ import annotations

from math import isqrt
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import InputProjector, Tokens
from anyx.layers import Standardise, stacked

Norm = bool | Literal["data"]


class LinearInputProjector(InputProjector):
    """One linear map (NExT-GPT v1, PandaGPT, LLaVA); `tokens` LLM tokens for each encoder token.

    `norm` normalises each encoder token first, which helps where they are of unit length.
    """

    def __init__(self, dim_in: int, dim_out: int, *, tokens: int = 1, norm: bool = False):
        super().__init__()
        self.tokens = _positive("tokens", tokens)
        self.norm = nn.LayerNorm(dim_in) if norm else nn.Identity()
        self.proj = nn.Linear(dim_in, dim_out * tokens)

    def forward(self, x: Tokens) -> Tokens:
        """Map each token."""
        return _spread(x, self.proj(self.norm(x.values)), self.tokens)


class ResidualBlock(nn.Module):
    """Normalise, then add two linear maps with a GELU between to what is normalised (LLaVA's `SimpleResBlock`)."""

    def __init__(self, dim: int):
        super().__init__()
        self.pre_norm = nn.LayerNorm(dim)
        self.proj = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Map each token by itself."""
        x = self.pre_norm(x)
        return x + self.proj(x)  # type: ignore[no-any-return]


class MLPInputProjector(InputProjector):
    """Linear maps with GELU between (with `layers=2` LLaVA-1.5's `mlp2x_gelu` and NExT-GPT v2's `mlp`).

    `hidden` is the width between them, `dim_out` unless given. `residual` blocks may follow (`mlpNx_resMx_gelu`).

    `stack` lays that many neighbouring tokens end to end first (MiniGPT-v2: 4); what is missing at the end is zero.
    `norm: data` standardises every feature by its statistics over the training data: features of a frozen encoder
    often share a large mean, which hides what tells items apart. `dropout` hides that share of the features in
    training, so that media unlike the training data do not hang on a few of them.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        layers: int = 2,
        hidden: int | None = None,
        tokens: int = 1,
        stack: int = 1,
        norm: Norm = False,
        dropout: float = 0.0,
        residual: int = 0,
    ):
        super().__init__()
        self.tokens, self.stack = _positive("tokens", tokens), _positive("stack", stack)
        if residual < 0:
            raise ValueError(f"residual must not be negative, given {residual}")
        dim_in *= stack
        widths = [dim_in, *[hidden or dim_out] * (_positive("layers", layers) - 1), dim_out * tokens]
        self.norm, self.dropout = _norm(norm, dim_in), nn.Dropout(dropout)
        maps: list[nn.Module] = [nn.Linear(widths[0], widths[1])]
        for i in range(1, layers):
            maps += [nn.GELU(), nn.Linear(widths[i], widths[i + 1])]
        maps += [ResidualBlock(widths[-1]) for _ in range(residual)]
        self.proj = nn.Sequential(*maps)

    def forward(self, x: Tokens) -> Tokens:
        """Map each token, or each stack of tokens."""
        if self.stack > 1:
            x = Tokens(*stacked(x.values, x.mask, self.stack), whole=x.whole)
        standardised = isinstance(self.norm, Standardise) and not x.whole
        values = self.norm(x.values, x.mask) if standardised else self.norm(x.values)
        return _spread(x, self.proj(self.dropout(values)), self.tokens)


class StackInputProjector(InputProjector):
    """`k` neighbouring tokens end to end, then one linear map: a k-th of the tokens, all features kept (MiniGPT-v2).

    `along: raster` takes neighbours in the order of the tokens, what is missing at the end being zero; `along: square`
    those of a square of the grid of patches, row by row (2 x 2 for `k: 4`). The grid is the layout that the encoder
    says, or else a square one.
    """

    def __init__(self, dim_in: int, dim_out: int, *, k: int = 4, along: Literal["raster", "square"] = "raster"):
        super().__init__()
        if along not in ("raster", "square"):
            raise ValueError(f"along: {along!r} is not one of raster, square")
        self.k, self.side = _positive("k", k), isqrt(k) if along == "square" else None
        if self.side is not None and self.side**2 != k:
            raise ValueError(f"k: {k} is no square, as along: square wants; give 4, 9, ...")
        self.proj = nn.Linear(dim_in * k, dim_out)

    def forward(self, x: Tokens) -> Tokens:
        """Map each stack."""
        if self.side is None:
            values, mask = stacked(x.values, x.mask, self.k)
            return Tokens(self.proj(values), mask, whole=x.whole)
        grids = set(x.layout or [(isqrt(x.values.shape[1]),) * 2])
        rows, columns = next(iter(grids))
        if len(grids) > 1 or rows * columns != x.values.shape[1] or rows % self.side or columns % self.side:
            told = f"{x.values.shape[1]} tokens on grids of {sorted(grids)}"
            raise ValueError(
                f"along: square wants items of one grid that {self.side} x {self.side} fits, but got {told}"
            )
        order = rearrange(
            torch.arange(rows * columns, device=x.values.device),
            "(r i c j) -> (r c i j)",
            r=rows // self.side,
            i=self.side,
            j=self.side,
        )
        values, mask = stacked(x.values[:, order], x.mask[:, order], self.k)
        grid = (rows // self.side, columns // self.side)
        return Tokens(self.proj(values), mask, (grid,) * len(values) if x.layout else None, whole=x.whole)


def _norm(kind: Norm, dim: int) -> nn.Module:
    if kind not in (True, False, "data"):
        raise ValueError(f"norm: {kind!r} is not one of true, false, data")
    return Standardise(dim) if kind == "data" else nn.LayerNorm(dim) if kind else nn.Identity()


def _spread(x: Tokens, values: Float[Tensor, "b n kd"], k: int) -> Tokens:
    """Lay the k tokens made of one side by side; grids only survive k = 1."""
    if k == 1:
        return Tokens(values, x.mask, x.layout, whole=x.whole)
    beside = values.reshape(len(values), -1, values.shape[-1] // k)
    return Tokens(beside, x.mask.repeat_interleave(k, dim=1), whole=x.whole)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, given {value}")
    return value
