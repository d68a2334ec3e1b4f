"""The eyes of LLaMA-Adapter: query blocks (V2) and the residual gated bridge (ImageBind-LLM), as input projectors.

Both carry what an encoder says to vectors that are added to prompts inside the LLM (`anyx/adapters/prompts.py`), though
they may as well stand in its sequence. Written from the papers (arXiv 2304.15010, 2309.03905) and measured facts alone.

Letters: b media, n encoder tokens, q queries, d width, k neighbours, p prototypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import InputProjector, Tokens
from anyx.layers import Block
from anyx.signatures import Count
from anyx.weights import read as read_weights

EPS = 1e-6


class QueryBlocksInputProjector(InputProjector):
    """`tokens` learned queries go through `depth` transformer blocks together with the encoder's tokens.

    LLaMA-Adapter V2: 10 queries, 8 blocks of width 768 with 16 heads, over all 257 projected tokens of CLIP ViT-L/14.
    """

    def __init__(
        self, dim_in: int, dim_out: int, *, tokens: Count = 10, depth: Count = 8, hidden: Count = 768, heads: Count = 16
    ):
        super().__init__()
        if tokens < 1 or depth < 1:
            raise ValueError(f"tokens: {tokens}, depth: {depth} given; both are 1 or more")
        self.proj_in, self.norm_in = nn.Linear(dim_in, hidden), nn.LayerNorm(hidden)
        self.queries = nn.Parameter(torch.randn(tokens, hidden) * 0.02)
        self.blocks = nn.ModuleList(Block(hidden, heads, eps=1e-5) for _ in range(depth))
        self.proj_out, self.norm_out = nn.Linear(hidden, dim_out), nn.LayerNorm(dim_out)

    def forward(self, x: Tokens) -> Tokens:
        """Read the real tokens of each item into `tokens` vectors."""
        seen = self.norm_in(self.proj_in(x.values))
        count = len(self.queries)
        y = torch.cat([self.queries.to(seen.dtype).expand(len(seen), -1, -1), seen], 1)
        mask = None if x.whole or x.mask.is_meta or bool(x.mask.all()) else F.pad(x.mask, (count, 0), value=True)
        for block in self.blocks:
            y = block(y, mask=mask)
        return Tokens.full(self.norm_out(self.proj_out(y[:, :count])))


class GatedResidual(nn.Module):
    """`x + down(silu(gate norm x) * up norm x)`, without biases."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.norm = nn.RMSNorm(dim, eps=EPS)
        self.gate, self.up = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Map each token by itself."""
        y = self.norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))  # type: ignore[no-any-return]


class BridgeInputProjector(InputProjector):
    """A linear map and `depth` gated residual blocks of `mlp_ratio` times the LLM's width (ImageBind-LLM: 3 of 4).

    Tokens are first brought to length 1, unless they are a mixture of such (`unit: false`). `memory` names a file with
    a tensor `prototypes` (p, d) of length 1: each token is then mixed with its `neighbours` nearest ones, as
    ImageBind-LLM does at inference with those of its images.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        depth: int = 3,
        mlp_ratio: int = 4,
        memory: str | None = None,
        neighbours: int = 10,
        sharpness: float = 20.0,
        share: float = 0.5,
        unit: bool = True,
    ):
        super().__init__()
        if depth < 1 or not 0 <= share <= 1 or neighbours < 1:
            told = f"depth: {depth}, neighbours: {neighbours}, share: {share} given"
            raise ValueError(f"{told}; depth and neighbours are 1 or more, share is from 0 to 1")
        self.neighbours, self.sharpness, self.share, self.unit = neighbours, sharpness, share, unit
        self.proj = nn.Linear(dim_in, dim_out)
        self.blocks = nn.ModuleList(GatedResidual(dim_out, mlp_ratio * dim_out) for _ in range(depth))
        prototypes = None if memory is None else _prototypes(memory, dim_in)
        self.register_buffer("prototypes", prototypes, persistent=False)

    def forward(self, x: Tokens) -> Tokens:
        """Map each token."""
        values = F.normalize(x.values, dim=-1) if self.unit else x.values
        prototypes = self.get_buffer("prototypes") if self.prototypes is not None else None
        if prototypes is not None:
            values = recalled(values, prototypes, self.neighbours, self.sharpness, self.share)
        values = self.proj(values)
        for block in self.blocks:
            values = block(values)
        return x._replace(values=values)


def mixed(items: Sequence[Float[Tensor, "b n d"]], weights: Sequence[float]) -> Float[Tensor, "b n d"]:
    """Several media as one: the weighted mean of their embeddings, each of length 1 (ImageBind-LLM)."""
    total = sum(weights) + EPS
    return torch.stack([F.normalize(x, dim=-1) * (w / total) for x, w in zip(items, weights, strict=True)]).sum(0)


def recalled(
    x: Float[Tensor, "b n d"], prototypes: Float[Tensor, "p d"], neighbours: int, sharpness: float, share: float
) -> Float[Tensor, "b n d"]:
    """Embeddings mixed with the weighted mean of their nearest prototypes; all of length 1."""
    near, index = (x @ prototypes.to(x.dtype).T).topk(min(neighbours, len(prototypes)), -1)
    weights = (sharpness * near).softmax(-1)
    found = F.normalize((weights[..., None] * prototypes.to(x.dtype)[index]).sum(-2), dim=-1)
    return F.normalize((1 - share) * x + share * found, dim=-1)


def _prototypes(path: str, dim: int) -> Float[Tensor, "p d"]:
    _, found = read_weights(Path(path))
    shape = tuple(found["prototypes"].shape) if "prototypes" in found else None
    if shape is None or len(shape) != 2 or shape[1] != dim:
        raise ValueError(f"memory: {path} has {sorted(found)}; it should have prototypes (p, {dim}), not {shape}")
    return found["prototypes"]
