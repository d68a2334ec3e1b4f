"""PointBERT (arXiv 2111.14819) as ULIP-2 (arXiv 2305.08275) and X-InstructBLIP have it: groups of near points as words.

Of a cloud's points some are chosen that lie far from each other (`points.farthest`); each is the centre of the group of
its nearest points, whose offsets and further channels a small PointNet makes a token of: two maps, the group's maximum
laid beside every point, two maps, the maximum. A class token stands before the groups in a plain transformer, to every
block of which a map of the centres is added again. All of it in plain torch, without a compiled extension.

Published are 8192 points, 512 groups of 32 and the width of 384; the other sizes are those of PointBERT's paper. That
positions are added in every block is told of Point-MAE (arXiv 2203.06604), which is built on it. That the class token
and all groups are returned, normalised, is ours, and so are the names of the weights.

A cloud is a `Series` of c channels and n points: x, y and z, then what else each point has.

Letters: b clouds, n points, s groups, k points of a group, c channels of a point, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.layers import Block
from anyx.signatures import Count

from .points import POSITION_HIDDEN, PointTransform, farthest, gathered
from .weights import load

FIRST, WIDE = (128, 256), 512  # of the small PointNet: its first two maps, its third


@dataclass(frozen=True)
class BallTransform:
    """A cloud's points as `PointTransform` takes them, moved to their mean and shrunk until all lie within 1 of it."""

    points: int
    channels: int

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """Take the points of a cloud and put it into the ball."""
        points = PointTransform(self.points, self.channels)(media)["points"]
        xyz = points[:, :3] - points[:, :3].mean(0)
        radius = xyz.norm(dim=1).amax().clamp(min=torch.finfo(xyz.dtype).tiny)  # of one point alone: none
        return {"points": torch.cat([xyz / radius, points[:, 3:]], dim=1)}


class GroupNet(nn.Module):
    """The small PointNet: a group of points to one token, whatever their order."""

    def __init__(self, channels: int, inner: int, dim: int):
        super().__init__()
        self.first = nn.ModuleList([nn.Linear(channels, FIRST[0]), nn.Linear(*FIRST)])
        self.second = nn.ModuleList([nn.Linear(2 * FIRST[1], WIDE), nn.Linear(WIDE, inner)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(FIRST[0]), nn.BatchNorm1d(WIDE)])
        self.out = nn.Linear(inner, dim)

    def forward(self, groups: Float[Tensor, "b s k c"]) -> Float[Tensor, "b s d"]:
        """Tokens of groups."""
        x = self._pair(self.first, self.norms[0], groups)
        whole = x.amax(2, keepdim=True).expand_as(x)
        x = self._pair(self.second, self.norms[1], torch.cat([whole, x], dim=-1))
        return self.out(x.amax(2))  # type: ignore[no-any-return]

    def _pair(self, maps: nn.ModuleList, norm: nn.Module, x: Tensor) -> Tensor:
        x = maps[0](x)
        x = F.relu(norm(x.flatten(0, -2))).reshape(x.shape)
        return maps[1](x)  # type: ignore[no-any-return]


class PointBertEncoder(Encoder):
    """A class token and `groups` tokens of width `width`, each of `neighbours` points, of a cloud of `points` points.

    Points have `channels` numbers, the first three their place. `inner` is the width of a group before it becomes a
    token. `normalise` puts clouds into the unit ball; that published weights were trained so is taken for granted, not
    read. `path` names weights under the names here.
    """

    def __init__(
        self,
        *,
        width: Count = 384,
        layers: Count = 12,
        heads: Count = 6,
        groups: Count = 512,
        neighbours: Count = 32,
        points: Count = 8192,
        channels: int = 3,
        inner: Count = 256,
        normalise: bool = True,
        path: str | None = None,
    ):
        super().__init__()
        if channels < 3 or not 1 <= groups <= points or not 1 <= neighbours <= points:
            told = f"given {channels}, {groups} of {neighbours}, and {points}"
            raise ValueError(f"channels are at least x, y and z, groups and neighbours some of the points: {told}")
        self.dim, self.groups, self.neighbours = width, groups, neighbours
        self.net = GroupNet(channels, inner, width)
        self.class_embedding = nn.Parameter(torch.zeros(1, 1, width))
        self.class_position = nn.Parameter(torch.randn(1, 1, width))
        self.positions = nn.Sequential(nn.Linear(3, POSITION_HIDDEN), nn.GELU(), nn.Linear(POSITION_HIDDEN, width))
        self.blocks = nn.ModuleList(Block(width, heads, eps=1e-5) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.transform = (BallTransform if normalise else PointTransform)(points, channels)
        if path is not None:
            load(self, path)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode points (b, n, c) to (b, 1 + s, d)."""
        points = inputs["points"].to(self.class_embedding.dtype)
        xyz = points[..., :3]
        centres = gathered(xyz, farthest(xyz, self.groups))
        near = nearest(xyz, centres, self.neighbours)
        group = gathered(points, near.flatten(1)).reshape(*near.shape, -1)
        offsets = group[..., :3] - centres[:, :, None]
        return Tokens.full(self.states(self.net(torch.cat([offsets, group[..., 3:]], dim=-1)), centres))

    def states(self, tokens: Float[Tensor, "b s d"], centres: Float[Tensor, "b s 3"]) -> Float[Tensor, "b m d"]:
        """The class token and groups through the blocks."""
        x = torch.cat([self.class_embedding.expand(len(tokens), -1, -1), tokens], dim=1)
        places = torch.cat([self.class_position.expand(len(tokens), -1, -1), self.positions(centres)], dim=1)
        for block in self.blocks:
            x = block(x + places)
        return self.norm(x)  # type: ignore[no-any-return]


@torch.no_grad()
def nearest(xyz: Float[Tensor, "b n 3"], centres: Float[Tensor, "b s 3"], count: int) -> Int[Tensor, "b s k"]:
    """Indices of the `count` points nearest to each centre, the nearest first."""
    return torch.cdist(centres, xyz).topk(count, dim=-1, largest=False, sorted=True).indices
