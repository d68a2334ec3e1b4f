"""Gated cross-attention: before every n-th layer, the words look at media (Flamingo, arXiv 2204.14198).

A block adds `tanh(gate) * attention` and `tanh(gate) * MLP` to the states, with gates at zero in the beginning. The
layout is OpenFlamingo's (github.com/mlfoundations/open_flamingo, helpers.py), and so are the names of its weights. A
position sees the last medium that begins at or before it, or all of them; where there is none, attention adds nothing.

Letters: b rows, s positions, m media of a row, n tokens of a medium, t all media tokens of a row, d width, v width of
media tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.adapters.body import Body
from anyx.context import Values
from anyx.interfaces import Adapter, Layout, Placed, Reading
from anyx.signatures import Count


class CrossAttention(nn.Module):
    """Attention of normalised states to media tokens; no biases."""

    def __init__(self, dim: int, dim_media: int, *, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim_media, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(
        self, x: Float[Tensor, "b s d"], media: Float[Tensor, "b t v"], visible: Bool[Tensor, "b s t"]
    ) -> Float[Tensor, "b s d"]:
        """Attend; where nothing is visible, to all alike."""
        q, (k, v) = self.to_q(self.norm(x)), self.to_kv(media).chunk(2, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        scores = scores.masked_fill(~visible[:, None], torch.finfo(scores.dtype).min)
        return self.to_out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class GatedBlock(nn.Module):
    """Cross-attention and an MLP, each behind a gate that is closed in the beginning."""

    def __init__(self, dim: int, dim_media: int, *, heads: int = 8, head_dim: int = 64, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.attn = CrossAttention(dim, dim_media, heads=heads, head_dim=head_dim)
        self.attn_gate = nn.Parameter(torch.zeros(1))
        hidden = dim * mlp_ratio
        maps = nn.Linear(dim, hidden, bias=False), nn.GELU(), nn.Linear(hidden, dim, bias=False)
        self.ff = nn.Sequential(nn.LayerNorm(dim), *maps)
        self.ff_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        x: Float[Tensor, "b s d"],
        media: Float[Tensor, "b t v"],
        visible: Bool[Tensor, "b s t"],
        *,
        blind: Literal["nothing", "all"] = "nothing",
    ) -> Float[Tensor, "b s d"]:
        """Look and think. A position that sees no medium reads nothing, or all of them alike (`blind`)."""
        seen = self.attn(x, media, visible)
        if blind == "nothing":
            seen = seen * visible.any(-1, keepdim=True)
        x = x + self.attn_gate.tanh() * seen
        return x + self.ff_gate.tanh() * self.ff(x)  # type: ignore[no-any-return]


class GatedCrossAttention(Adapter):
    """A gated block before every `every`-th layer (OpenFlamingo 9B: 4), for media of width `dim` (its perceiver: 1024).

    Media stand nowhere in the sequence; a medium is seen from the position on where its placeholder stood: by the last
    medium only (`sees: last`, as published) or with those before it (`all`).
    """

    spliced = False

    def __init__(
        self,
        body: Body,
        name: str,
        *,
        every: Count = 1,
        dim: Count | None = None,
        heads: Count = 8,
        head_dim: Count = 64,
        mlp_ratio: Count = 4,
        sees: Literal["last", "all"] = "last",
    ) -> None:
        super().__init__()
        if not 1 <= every <= len(body.layers):
            raise ValueError(f"every: {every} given; the LLM has {len(body.layers)} layers")
        self.name, self.dim, self.sees = name, dim or body.dim, sees
        self.layers = nn.ModuleDict()
        for index in range(every - 1, len(body.layers), every):
            block = GatedBlock(body.dim, self.dim, heads=heads, head_dim=head_dim, mlp_ratio=mlp_ratio)
            self.layers[str(index)] = block
            body.before(index, name, partial(look, block))

    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """The media of each row side by side in their order, and which of them each position sees."""
        batch, length = layout.mask.shape
        nothing = layout.mask.new_zeros(0, dtype=torch.long)
        rows = torch.cat([nothing, *(placed.rows for placed in media)])
        starts = torch.cat([nothing, *(placed.starts for placed in media)])
        turns = torch.cat([nothing, *(placed.order for placed in media)])
        count = torch.bincount(rows, minlength=batch)
        longest = max((placed.tokens.values.shape[1] for placed in media), default=0)
        order = turns.argsort()
        order = order[rows[order].argsort(stable=True)]
        slot = torch.empty_like(order)
        slot[order] = torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[rows[order]]
        most = int(count.max()) if len(rows) else 0
        like = layout.embeddings if not media else media[0].tokens.values
        padded = [F.pad(placed.tokens.values, (0, 0, 0, longest - placed.tokens.values.shape[1])) for placed in media]
        real = [F.pad(placed.tokens.mask, (0, longest - placed.tokens.mask.shape[1])) for placed in media]
        values = like.new_zeros(batch, most, longest, self.dim)
        there = layout.mask.new_zeros(batch, most, longest)
        begins = torch.full((batch, most), length + 1, device=rows.device)
        if media:
            values = values.index_put((rows, slot), torch.cat(padded).to(values.dtype))
            there = there.index_put((rows, slot), torch.cat(real))
            begins = begins.index_put((rows, slot), starts)
        columns = torch.arange(length + 1, device=rows.device)  # the last: what is said after the prompt
        begun = begins[:, None] <= columns[:, None]  # b s m
        if self.sees == "last":
            begun = begun & (begun.sum(-1, keepdim=True) == torch.arange(1, most + 1, device=rows.device))
        visible = (begun[..., None] & there[:, None]).flatten(2)
        return Reading({"media": values.flatten(1, 2)}, {"visible": visible[:, :-1]}, {"visible": visible[:, -1:]})


def look(block: GatedBlock, states: Float[Tensor, "b s d"], readings: Values) -> Float[Tensor, "b s d"]:
    """Run a block on states, in its own type; without readings there are no media."""
    kind = block.attn_gate.dtype
    rows, length = states.shape[:2]
    media = readings.get("media", states.new_zeros(rows, 0, block.attn.to_kv.in_features))
    visible = readings.get("visible", states.new_zeros(rows, length, 0, dtype=torch.bool))
    if media.shape[1] == 0:  # a key and a value that nobody sees
        media, visible = media.new_zeros(rows, 1, media.shape[-1]), visible.new_zeros(rows, length, 1)
    seen = block(states.to(kind), media.to(kind), visible.expand(-1, length, -1))
    return seen.to(states.dtype)  # type: ignore[no-any-return]
