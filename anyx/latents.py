"""Latents: learned vectors that read any number of tokens into a fixed number, in the forms that have been published.

One block in every form: the latents attend to the context (and, `reads_latents`, to themselves), then pass an `mlp`.
What differs is said by keywords; `resampling.py` names the sets of them that systems have. `positions` are fixed sines
and cosines (arXiv 2111.06377's), added to what queries and keys are made of and not to values:

- `square` (Qwen-VL): latents lie on a grid, whose table is stretched to the context's grid for the keys;
- `line` (mPLUG-Owl2): latents lie in a row, the context on a grid of its own, after a class token if it has one.

Letters: b items, m context tokens, l latents, d width, f frames of an item, v tokens of a frame, g side of a grid.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.layers import Attention, Mlp, stretched

Residual = Literal["latents", "normed", "none"]
FeedForward = Literal["gelu", "swiglu", "none"]
Positions = Literal["none", "square", "line"]
SWIGLU_EPS = 1e-6  # of the norm inside mPLUG-Owl's feed-forward


class GatedMlp(nn.Module):
    """SwiGLU with a LayerNorm before its last map: `w2(ffn_ln(silu(w1 x) * w3 x))`, mPLUG-Owl's."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.w1, self.w3 = nn.Linear(dim, hidden), nn.Linear(dim, hidden)
        self.ffn_ln = nn.LayerNorm(hidden, eps=SWIGLU_EPS)
        self.w2 = nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Map each token by itself."""
        return self.w2(self.ffn_ln(F.silu(self.w1(x)) * self.w3(x)))  # type: ignore[no-any-return]


class LatentBlock(nn.Module):
    """Latents read a context, then an MLP. By default Perceiver's: they read each other too, all normalised first.

    `residual` says what the attention's output is added to: the `latents`, the `normed` ones (mPLUG-Owl) or nothing.
    Without `norm` neither side is normalised (Kosmos-2). `inner` is the width of all heads, `hidden` of the MLP.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        *,
        mlp_ratio: int = 4,
        hidden: int | None = None,
        inner: int | None = None,
        bias: bool = True,
        reads_latents: bool = True,
        residual: Residual = "latents",
        mlp: FeedForward = "gelu",
        norm: bool = True,
        eps: float = 1e-5,
    ):
        super().__init__()
        hidden = dim * mlp_ratio if hidden is None else hidden
        self.reads_latents, self.residual = reads_latents, residual
        self.norm_context = nn.LayerNorm(dim, eps=eps) if norm else nn.Identity()
        self.norm_latents = nn.LayerNorm(dim, eps=eps) if norm else nn.Identity()
        self.attn = Attention(dim, heads, inner=inner, bias=bias)
        self.norm_mlp = None if mlp == "none" else nn.LayerNorm(dim, eps=eps)
        self.mlp: nn.Module | None = None
        if mlp != "none":
            self.mlp = GatedMlp(dim, hidden) if mlp == "swiglu" else Mlp(dim, hidden, bias=bias)

    def forward(
        self,
        latents: Float[Tensor, "b l d"],
        context: Float[Tensor, "b m d"],
        mask: Bool[Tensor, "b m"] | None = None,
        places: tuple[Float[Tensor, "l d"], Float[Tensor, "m d"]] | None = None,
    ) -> Float[Tensor, "b l d"]:
        """Update the latents; `mask` is True at the real tokens of the context, `places` are positions of both."""
        normed, read = self.norm_latents(latents), self.norm_context(context)
        keep = mask
        if self.reads_latents:
            read = torch.cat([read, normed], dim=1)
            keep = None if mask is None else F.pad(mask, (0, latents.shape[1]), value=True)
        queries, keys = normed, read
        if places is not None:
            queries = normed + places[0]
            keys = read + (torch.cat([places[1], places[0]]) if self.reads_latents else places[1])
        y = self.attn(queries, read, keys=keys, mask=keep)
        if self.residual != "none":
            y = y + (normed if self.residual == "normed" else latents)
        if self.norm_mlp is None or self.mlp is None:
            return y  # type: ignore[no-any-return]
        return y + self.mlp(self.norm_mlp(y))  # type: ignore[no-any-return]


class LatentResampler(nn.Module):
    """Any number of tokens to a fixed number: learned latents that read the tokens through `depth` blocks.

    `frames` and `media` are the lengths of learned tables (Flamingo): one vector for each frame of an item, one for the
    place of the item among others; 0 is none. `norm_out` normalises what comes out.
    """

    def __init__(
        self,
        dim: int,
        tokens: int,
        *,
        depth: int = 2,
        heads: int = 8,
        mlp_ratio: int = 4,
        hidden: int | None = None,
        inner: int | None = None,
        bias: bool = True,
        reads_latents: bool = True,
        residual: Residual = "latents",
        mlp: FeedForward = "gelu",
        norm: bool = True,
        norm_out: bool = True,
        positions: Positions = "none",
        frames: int = 0,
        media: int = 0,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(tokens, dim) * 0.02)
        self.blocks = nn.ModuleList(
            LatentBlock(
                dim,
                heads,
                mlp_ratio=mlp_ratio,
                hidden=hidden,
                inner=inner,
                bias=bias,
                reads_latents=reads_latents,
                residual=residual,
                mlp=mlp,
                norm=norm,
                eps=eps,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim) if norm_out else nn.Identity()
        self.frame_embeddings = nn.Parameter(torch.randn(frames, dim)) if frames else None
        self.media_embeddings = nn.Parameter(torch.randn(media, dim)) if media else None
        self.positions = positions
        if positions == "square" and round(tokens**0.5) ** 2 != tokens:
            raise ValueError(f"latents on a grid are a square number, given {tokens}")
        if positions != "none" and dim % 4:
            raise ValueError(f"positions on a grid need a width that 4 divides, given {dim}")

    def forward(
        self,
        context: Float[Tensor, "b m d"],
        mask: Bool[Tensor, "b m"] | None = None,
        *,
        frames: int = 1,
        order: Int[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b l d"]:
        """Read the context, of `frames` equal parts, into (b, tokens, d); `order` are the items' places among media."""
        if self.frame_embeddings is not None:
            context = context + self.frame_embeddings[:frames].repeat_interleave(context.shape[1] // frames, dim=0)
        if self.media_embeddings is not None and order is not None:
            context = context + self.media_embeddings[order][:, None]
        latents = self.latents.to(context.dtype).expand(len(context), -1, -1)
        places = self.places(context.shape[1], context.device)
        for block in self.blocks:
            latents = block(latents, context, mask, places)
        return self.norm(latents)  # type: ignore[no-any-return]

    def places(self, length: int, device: torch.device) -> tuple[Float[Tensor, "l d"], Float[Tensor, "m d"]] | None:
        """Positions of the latents and of a context of some length."""
        if self.positions == "none":
            return None
        tokens, dim = self.latents.shape
        side = round(length**0.5)
        lone = length - round((length - 1) ** 0.5) ** 2 == 1 if side**2 != length else False
        if side**2 != length and not lone:
            raise ValueError(f"positions on a grid: {length} tokens given, no square number, nor one and a class token")
        side = round((length - lone) ** 0.5)
        if self.positions == "line":
            table = waves(torch.arange(tokens, device=device), dim), grid_waves(side, dim, device)
        else:
            own = grid_waves(round(tokens**0.5), dim, device)
            table = own, stretched(own, side)
        return table[0], F.pad(table[1], (0, 0, int(lone), 0))


def waves(places: Float[Tensor, " n"] | Int[Tensor, " n"], dim: int) -> Float[Tensor, "n d"]:
    """Sines, then cosines, of places by wavelengths from 2 pi to 20,000 pi."""
    rates = 10000.0 ** (-torch.arange(dim // 2, device=places.device, dtype=torch.float64) / (dim // 2))
    angles = places.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def grid_waves(side: int, dim: int, device: torch.device) -> Float[Tensor, "n d"]:
    """Positions on a grid, row by row: the first half of the width tells the column, the second the row."""
    one = waves(torch.arange(side, device=device), dim // 2)
    return torch.cat([one.repeat(side, 1), one.repeat_interleave(side, dim=0)], dim=1)
