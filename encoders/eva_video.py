"""EVA-CLIP-g that watches clips, as VideoChat has it (arXiv 2305.06355): the tower as it is, and one token of the clip.

In each of the tower's last blocks a `GlobalAggregator` (the global one of UniFormerV2, arXiv 2211.09552) lets one
learned query read the patches of all frames, to which a depth-wise convolution over time, height and width adds where
they lie. It is carried from block to block and stands behind the tokens of the frames. The tower never reads it: the
tokens of the frames are exactly those of `EvaClipEncoder`. At the beginning nothing is added: the query is zeros, the
convolution and the last map of either half too, so that it stays so.

Published are the convolution, one query, a beginning at zero and the eight blocks. That the query stands at the end,
that frames' class tokens are not read, and where dropout falls is ours; VideoChat's weights are under other names.

Letters: b clips, t frames, g side of the grid of patches, n tokens of a frame, p patches of all frames, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.layers import Attention, Mlp
from anyx.signatures import Count

from .eva_clip import EvaClipEncoder, PostLn

KERNEL = 3  # frames, and patches along either side, that a place is made of


class GlobalAggregator(nn.Module):
    """A query reads the patches of all frames, then maps what it has; each half adds to what it was given."""

    def __init__(self, dim: int, heads: int, *, mlp_ratio: int = 4, dropout: float = 0.0):
        super().__init__()
        self.place = nn.Conv3d(dim, dim, KERNEL, padding=KERNEL // 2, groups=dim)
        self.norm_query, self.norm_patches, self.norm_mlp = (nn.LayerNorm(dim) for _ in range(3))
        self.attn = Attention(dim, heads)
        self.mlp = Mlp(dim, mlp_ratio * dim)
        self.dropout = nn.Dropout(dropout)
        for module in (self.place, self.attn.out_proj, self.mlp.fc2):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # both kinds have one here

    def forward(self, query: Float[Tensor, "b 1 d"], patches: Float[Tensor, "b t g g d"]) -> Float[Tensor, "b 1 d"]:
        """What the query has read so far, and now."""
        placed = patches + self.place(patches.movedim(-1, 1)).movedim(1, -1)
        read = self.attn(self.norm_query(query), self.norm_patches(placed.flatten(1, 3)))
        query = query + self.dropout(read)
        return query + self.dropout(self.mlp(self.norm_mlp(query)))  # type: ignore[no-any-return]


class Aggregation(nn.Module):
    """The query and its blocks: all that VideoChat adds to the tower."""

    def __init__(self, dim: int, heads: int, *, depth: int, mlp_ratio: int, dropout: float):
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, dim))
        self.blocks = nn.ModuleList(
            GlobalAggregator(dim, heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth)
        )


class EvaVideoEncoder(Encoder):
    """The tokens of `frames` frames laid end to end, and behind them the one token of the clip; a picture is one frame.

    `path`, `config`, `post_ln`, `eps`, `blocks` and `size` are `EvaClipEncoder`'s. `depth` is the number of last blocks
    that the query reads after; stages train `temporal`, the query and what it reads with, beside a frozen tower.
    """

    parts: ClassVar[Sequence[str]] = ("temporal",)

    def __init__(
        self,
        *,
        path: str | None = None,
        config: Mapping[str, Any] | None = None,
        post_ln: PostLn = "loaded",
        eps: float | None = None,
        blocks: int | None = None,
        size: int | None = None,
        frames: Count = 8,
        depth: Count = 8,
        mlp_ratio: Count = 4,
        dropout: float = 0.5,
    ):
        super().__init__()
        self.eye = EvaClipEncoder(
            path=path, config=config, post_ln=post_ln, eps=eps, blocks=blocks, size=size, frames=frames
        )
        tower: Any = self.eye.tower
        if not 1 <= depth <= len(tower.encoder.layers):
            raise ValueError(f"depth: {depth} is not within 1 and {len(tower.encoder.layers)}, the tower's blocks")
        self.dim, self.transform = self.eye.dim, self.eye.transform
        heads: int = tower.config.num_attention_heads
        self.temporal = Aggregation(self.dim, heads, depth=depth, mlp_ratio=mlp_ratio, dropout=dropout)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) to (b, n + 1, d), or (b, t, 3, h, w) to (b, t n + 1, d)."""
        tower: Any = self.eye.tower
        pixels = inputs["pixels"].to(self.temporal.query.dtype)
        items, later = len(pixels), iter(self.temporal.blocks)
        first = len(tower.encoder.layers) - len(self.temporal.blocks)
        x, query = tower.embeddings(pixels.flatten(0, -4)), self.temporal.query.expand(items, -1, -1)
        side = round((x.shape[1] - 1) ** 0.5)
        for i, layer in enumerate(tower.encoder.layers):
            x = layer(x)
            if i >= first:
                query = next(later)(query, x[:, 1:].reshape(items, -1, side, side, self.dim))
        tokens = torch.cat([x.reshape(items, -1, self.dim), query], dim=1)
        return Tokens.full(tower.post_layernorm(tokens))
