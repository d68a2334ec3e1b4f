"""Attention and transformer blocks: what several rooms build from. Torch only.

Parameter names are those of the published ImageBind checkpoint (`norm_1`, `attn.in_proj_weight`, `mlp.fc1`, ...), whose
attention has those of `nn.MultiheadAttention`. Attention runs through `scaled_dot_product_attention`.

Letters: b batch, n query tokens, m context tokens, d width, h heads, r real tokens of all items.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Literal["gelu", "quick_gelu"]


def attend(
    q: Float[Tensor, "b n d"],
    k: Float[Tensor, "b m d"],
    v: Float[Tensor, "b m d"],
    heads: int,
    mask: Bool[Tensor, "b m"] | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
) -> Float[Tensor, "b n d"]:
    """Attention of several heads side by side in d; `mask` is True at the real tokens of the context."""
    q, k, v = (t.reshape(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, k, v))
    keep = None if mask is None else mask[:, None, None, :]
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, is_causal=causal, dropout_p=dropout)
    return y.transpose(1, 2).flatten(2)


class Attention(nn.Module):
    """Multi-head attention over the tokens themselves, or over a context.

    `bias_kv` appends one learned key and value, as ImageBind's audio trunk has, `zero_kv` one of zeros. `inner` is the
    width of all heads together where that is not `dim`; without `bias` no map has one (both: Flamingo's).
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        bias_kv: bool = False,
        zero_kv: bool = False,
        inner: int | None = None,
        bias: bool = True,
    ):
        super().__init__()
        self.zero_kv = zero_kv
        inner = dim if inner is None else inner
        if heads < 1 or inner % heads:
            raise ValueError(f"heads must divide dim: given dim={inner}, heads={heads}")
        self.heads, self.inner = heads, inner
        self.in_proj_weight = nn.Parameter(torch.empty(3 * inner, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * inner)) if bias else None
        self.bias_k = nn.Parameter(torch.empty(1, 1, inner)) if bias_kv else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, inner)) if bias_kv else None
        self.out_proj = nn.Linear(inner, dim, bias=bias)
        nn.init.xavier_uniform_(self.in_proj_weight)
        if bias:
            nn.init.zeros_(self.out_proj.bias)
        for vector in (self.bias_k, self.bias_v):
            if vector is not None:
                nn.init.xavier_normal_(vector)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        context: Float[Tensor, "b m d"] | None = None,
        *,
        keys: Float[Tensor, "b m d"] | None = None,
        causal: bool = False,
        mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attend from `x` to `context` (default `x`; one for all items or one each); `mask` is True at its real tokens.

        `keys` are what keys are made of where that is not the context itself, as with positions on keys alone.
        """
        if context is None:
            assert keys is None, "keys of their own belong to a context"
            q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            sources = (x, context if keys is None else keys, context)
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            weights = self.in_proj_weight.chunk(3)
            q, k, v = (F.linear(*each) for each in zip(sources, weights, biases, strict=True))
        if self.bias_k is not None and self.bias_v is not None:
            assert not causal, "a learned key has no place in a causal order"
            k = torch.cat([k, self.bias_k.to(k.dtype).expand(len(k), -1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.to(v.dtype).expand(len(v), -1, -1)], dim=1)
            mask = None if mask is None else F.pad(mask, (0, 1), value=True)
        if self.zero_kv:
            k, v = (F.pad(t, (0, 0, 0, 1)) for t in (k, v))
            mask = None if mask is None else F.pad(mask, (0, 1), value=True)
        k, v = (t.expand(len(q), -1, -1) for t in (k, v))
        return self.out_proj(attend(q, k, v, self.heads, mask, causal=causal))  # type: ignore[no-any-return]


def quick_gelu(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """OpenAI CLIP's approximation of the GELU."""
    return x * torch.sigmoid(1.702 * x)


class Mlp(nn.Module):
    """Two linear maps with a GELU between, or with OpenAI CLIP's `quick_gelu`."""

    def __init__(self, dim: int, hidden: int, *, bias: bool = True, activation: Activation = "gelu"):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden, bias=bias)
        self.activation: Callable[[Tensor], Tensor] = quick_gelu if activation == "quick_gelu" else F.gelu
        self.fc2 = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Map each token by itself."""
        return self.fc2(self.activation(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A transformer block: each half normalises what it reads (pre-norm), or with `post_norm` what it adds (EVA-02-E).

    `hidden` is the width of its MLP where that is no multiple of `dim`.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: int = 4,
        hidden: int | None = None,
        bias_kv: bool = False,
        post_norm: bool = False,
        activation: Activation = "gelu",
        eps: float = 1e-6,
    ):
        super().__init__()
        self.post_norm = post_norm
        self.norm_1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, bias_kv=bias_kv)
        self.norm_2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, hidden or int(dim * mlp_ratio), activation=activation)

    def forward(
        self, x: Float[Tensor, "b n d"], *, causal: bool = False, mask: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Attend, then map; `mask` is True at real tokens."""
        if self.post_norm:
            x = x + self.norm_1(self.attn(x, causal=causal, mask=mask))
            return x + self.norm_2(self.mlp(x))  # type: ignore[no-any-return]
        x = x + self.attn(self.norm_1(x), causal=causal, mask=mask)
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class Standardise(nn.Module):
    """Every feature less its mean over its deviation, both taken over all real tokens that training has seen so far.

    Unlike batch normalisation it does the same in training as afterwards, however small the batches. With `memory`,
    older batches fade as in an average over that many, so that it follows inputs that themselves are learning.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, dim: int, *, memory: int | None = None, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.least = eps, 1 / memory if memory else 0.0
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"] | None = None) -> Float[Tensor, "b n d"]:
        """Take note of the real tokens (all, or where `mask` is True), if training, then standardise all."""
        if self.training and not x.is_meta:
            real = x.detach().flatten(0, -2) if mask is None else x.detach()[mask]
            if len(real) > 1:
                self.note(real.float())
        return (x - self.running_mean) * (self.running_var + self.eps).rsqrt()

    @torch.no_grad()
    def note(self, x: Float[Tensor, "t d"]) -> None:
        """Let a batch count as much as each before it, or as `memory` says: the variance within and between them."""
        self.num_batches_tracked += 1
        share = self.num_batches_tracked.reciprocal().clamp(min=self.least)
        variance, mean = torch.var_mean(x, 0)
        between = (mean - self.running_mean).square()
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share).add_(between * share * (1 - share))


def stacked(
    values: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"], k: int
) -> tuple[Float[Tensor, "b m kd"], Bool[Tensor, "b m"]]:
    """Every k neighbours end to end, zero for what is missing; a stack is real where its first token is."""
    missing = -values.shape[1] % k
    values = F.pad(values * mask[..., None], (0, 0, 0, missing))
    return values.reshape(len(values), -1, k * values.shape[-1]), F.pad(mask, (0, missing))[:, ::k]


def offsets(mask: Bool[Tensor, "b n"]) -> tuple[Int[Tensor, " r"], Int[Tensor, " r"], Int[Tensor, " b"]]:
    """Of every real token, its item and its place among the item's real ones; and how many each item has."""
    item, _ = mask.nonzero(as_tuple=True)
    return item, (mask.cumsum(1) - 1)[mask], mask.sum(1)


def stretched(table: Float[Tensor, "n d"], side: int) -> Float[Tensor, "m d"]:
    """A table of positions on a square grid for one of `side` x `side`, by bicubic interpolation."""
    own = round(len(table) ** 0.5)
    if own == side:
        return table
    picture = table.reshape(1, own, own, -1).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=(side, side), mode="bicubic", align_corners=False)
    return picture.flatten(2)[0].T
