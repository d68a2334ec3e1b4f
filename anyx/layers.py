"""Attention, transformer blocks and the latent resampler: what several rooms build from. Torch only.

Parameter names are those of the published ImageBind checkpoint (`norm_1`, `attn.in_proj_weight`, `mlp.fc1`, ...), whose
attention has those of `nn.MultiheadAttention`. Attention runs through `scaled_dot_product_attention`.

Letters: b batch, n query tokens, m context tokens, d width, h heads, l latents, r real tokens of all items.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


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

    `bias_kv` appends one learned key and value, as ImageBind's audio trunk has.
    """

    def __init__(self, dim: int, heads: int, *, bias_kv: bool = False):
        super().__init__()
        if heads < 1 or dim % heads:
            raise ValueError(f"heads must divide dim: given dim={dim}, heads={heads}")
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.bias_k = nn.Parameter(torch.empty(1, 1, dim)) if bias_kv else None
        self.bias_v = nn.Parameter(torch.empty(1, 1, dim)) if bias_kv else None
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                nn.init.xavier_normal_(bias)

    def forward(
        self,
        x: Float[Tensor, "b n d"],
        context: Float[Tensor, "b m d"] | None = None,
        *,
        causal: bool = False,
        mask: Bool[Tensor, "b m"] | None = None,
    ) -> Float[Tensor, "b n d"]:
        """Attend from `x` to `context` (default `x`); `mask` is True at the real tokens of the context."""
        dim = x.shape[-1]
        if context is None:
            q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        else:
            q = F.linear(x, self.in_proj_weight[:dim], self.in_proj_bias[:dim])
            k, v = F.linear(context, self.in_proj_weight[dim:], self.in_proj_bias[dim:]).chunk(2, dim=-1)
        if self.bias_k is not None and self.bias_v is not None:
            assert not causal, "a learned key has no place in a causal order"
            k = torch.cat([k, self.bias_k.to(k.dtype).expand(len(k), -1, -1)], dim=1)
            v = torch.cat([v, self.bias_v.to(v.dtype).expand(len(v), -1, -1)], dim=1)
            mask = None if mask is None else F.pad(mask, (0, 1), value=True)
        return self.out_proj(attend(q, k, v, self.heads, mask, causal=causal))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Map each token by itself."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: int = 4, bias_kv: bool = False, eps: float = 1e-6):
        super().__init__()
        self.norm_1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, bias_kv=bias_kv)
        self.norm_2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self, x: Float[Tensor, "b n d"], *, causal: bool = False, mask: Bool[Tensor, "b n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Attend, then map; `mask` is True at real tokens."""
        x = x + self.attn(self.norm_1(x), causal=causal, mask=mask)
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class LatentBlock(nn.Module):
    """Latents read a context and each other (Perceiver), then an MLP."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: int = 4):
        super().__init__()
        self.norm_context = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads)
        self.norm_mlp = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(
        self, latents: Float[Tensor, "b l d"], context: Float[Tensor, "b m d"], mask: Bool[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """Update the latents; `mask` is True at the real tokens of the context."""
        queries = self.norm_latents(latents)
        read = torch.cat([self.norm_context(context), queries], dim=1)
        keep = None if mask is None else F.pad(mask, (0, latents.shape[1]), value=True)
        latents = latents + self.attn(queries, read, mask=keep)
        return latents + self.mlp(self.norm_mlp(latents))  # type: ignore[no-any-return]


class LatentResampler(nn.Module):
    """Any number of tokens to a fixed number: learned latents that read the tokens through `depth` blocks."""

    def __init__(self, dim: int, tokens: int, *, depth: int = 2, heads: int = 8, mlp_ratio: int = 4):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.blocks = nn.ModuleList(LatentBlock(dim, heads, mlp_ratio=mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self, context: Float[Tensor, "b m d"], mask: Bool[Tensor, "b m"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """Read the context into (b, tokens, d)."""
        latents = self.latents.to(context.dtype).expand(len(context), -1, -1)
        for block in self.blocks:
            latents = block(latents, context, mask)
        return self.norm(latents)  # type: ignore[no-any-return]


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
        """Let a batch count as much as each before it, or as `memory` says."""
        self.num_batches_tracked += 1
        share = self.num_batches_tracked.reciprocal().clamp(min=self.least)
        variance, mean = torch.var_mean(x, 0)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


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
