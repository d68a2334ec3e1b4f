"""Point clouds: a set-abstraction tokenizer and CLIP's blocks, as LAMM's EPCL has them (arXiv 2306.06687).

Of the points some are chosen that lie far from each other; each gathers its neighbours within a radius, whose offsets
and features pass a small MLP and are reduced to their maximum (PointNet++, arXiv 1706.02413). These tokens, with a map
of their coordinates added, pass blocks of a frozen CLIP, with learned task tokens behind them that are then dropped.
All of it in plain torch, without a compiled extension.

A cloud is a `Series` of c channels and n points: x, y and z in metres, then what else each point has (colour, height).

Letters: b clouds, n points, s tokens, k neighbours of a token, c channels of a point, f features of a point, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.layers import Block
from anyx.media import Series
from anyx.signatures import Count

from .weights import load

HEAD = 64  # CLIP's heads are as wide
POSITION_HIDDEN = 128
STEPS = (64, 128)  # widths of the tokenizer's MLP before the last


@dataclass(frozen=True)
class PointTransform:
    """A Series (c, n) to so many points (points, channels): some of more, all again and again of fewer.

    Of more than `channels` the first are read.
    """

    points: int
    channels: int

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """Take the points of a cloud."""
        if not isinstance(media, Series):
            raise ValueError(f"this encoder reads Series, given {type(media).__name__}")
        channels, count = media.values.shape
        if channels < self.channels:
            raise ValueError(f"a cloud of {self.channels} channels (x, y, z, ...) is read, given {channels}")
        places = torch.arange(self.points)
        chosen = places * count // self.points if count >= self.points else places % count
        return {"points": media.values[: self.channels, chosen].T.contiguous()}


class SetAbstraction(nn.Module):
    """Tokens of a cloud: `tokens` points far apart, each with what lies within `radius`, at most `neighbours` of it."""

    def __init__(self, features: int, dim: int, *, tokens: int, radius: float, neighbours: int):
        super().__init__()
        self.tokens, self.radius, self.neighbours = tokens, radius, neighbours
        widths = (3 + features, *STEPS, dim)
        self.maps = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths[1:])

    def forward(self, points: Float[Tensor, "b n c"]) -> tuple[Float[Tensor, "b s d"], Float[Tensor, "b s 3"]]:
        """Features of the tokens and where they lie."""
        xyz = points[..., :3]
        centres = gathered(xyz, farthest(xyz, self.tokens))
        near = neighbours(xyz, centres, self.radius, self.neighbours)
        group = gathered(points, near.flatten(1)).reshape(*near.shape, -1)
        offsets = (group[..., :3] - centres[:, :, None]) / self.radius
        x = torch.cat([offsets, group[..., 3:]], dim=-1)
        for linear, norm in zip(self.maps, self.norms, strict=True):
            x = linear(x)
            x = F.relu(norm(x.flatten(0, -2))).reshape(x.shape)
        return x.amax(2), centres


class PointCloudEncoder(Encoder):
    """`tokens` tokens of width `width` of a cloud of `points` points with `channels` numbers each.

    `radius` and `neighbours` are the tokenizer's, `layers` and `heads` (default: of 64) those of CLIP's blocks; `tasks`
    learned tokens stand behind the cloud's in the blocks. `path` names weights under the names here.
    """

    def __init__(
        self,
        *,
        width: Count = 1024,
        layers: Count = 24,
        heads: Count | None = None,
        tokens: Count = 256,
        points: Count = 40000,
        channels: Count = 3,
        radius: float = 0.2,
        neighbours: Count = 64,
        tasks: int = 0,
        path: str | None = None,
    ):
        super().__init__()
        if channels < 3 or not 1 <= tokens <= points:
            told = f"given {channels}, and {tokens} of {points}"
            raise ValueError(f"channels are at least x, y and z, and tokens some of the points: {told}")
        if radius <= 0 or tasks < 0:
            raise ValueError(f"radius: {radius}, tasks: {tasks} given; a radius is above 0 m, and tasks are 0 or more")
        self.dim, self.tasks = width, tasks
        self.tokenizer = SetAbstraction(channels - 3, width, tokens=tokens, radius=radius, neighbours=neighbours)
        self.positions = nn.Sequential(nn.Linear(3, POSITION_HIDDEN), nn.GELU(), nn.Linear(POSITION_HIDDEN, width))
        self.norm_pre = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(
            Block(width, heads or width // HEAD, activation="quick_gelu", eps=1e-5) for _ in range(layers)
        )
        self.task_embedding = nn.Parameter(torch.randn(tasks, width)) if tasks else None
        self.task_map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)) if tasks else None
        self.transform = PointTransform(points, channels)
        if path is not None:
            load(self, path)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode points (b, n, c) to (b, s, d)."""
        points = inputs["points"].to(self.norm_pre.weight.dtype)
        return Tokens.full(self.states(*self.tokenizer(points)))

    def states(self, features: Float[Tensor, "b s d"], xyz: Float[Tensor, "b s 3"]) -> Float[Tensor, "b s d"]:
        """Tokens and their places through the blocks."""
        x: Tensor = self.norm_pre(features + self.positions(xyz))
        count = x.shape[1]
        if self.task_map is not None:
            x = torch.cat([x, self.task_map(self.task_embedding).expand(len(x), -1, -1)], dim=1)
        for block in self.blocks:
            x = block(x)
        return x[:, :count]


@torch.no_grad()
def farthest(xyz: Float[Tensor, "b n 3"], count: int) -> Int[Tensor, "b s"]:
    """Indices of `count` points: the first, then always the one farthest from all that were chosen."""
    chosen = torch.zeros(len(xyz), count, dtype=torch.long, device=xyz.device)
    distance = torch.full(xyz.shape[:2], torch.inf, dtype=xyz.dtype, device=xyz.device)
    for i in range(1, count):
        last = gathered(xyz, chosen[:, i - 1 : i])
        distance = torch.minimum(distance, (xyz - last).square().sum(-1))
        chosen[:, i] = distance.argmax(1)
    return chosen


@torch.no_grad()
def neighbours(
    xyz: Float[Tensor, "b n 3"], centres: Float[Tensor, "b s 3"], radius: float, count: int
) -> Int[Tensor, "b s k"]:
    """Indices of the first `count` points within `radius` of each centre; where there are fewer, the first again."""
    length = xyz.shape[1]
    count = min(count, length)
    far = torch.cdist(centres, xyz) > radius
    order = torch.arange(length, device=xyz.device).expand(far.shape).masked_fill(far, length)
    found = order.topk(count, dim=-1, largest=False, sorted=True).values
    return torch.where(found == length, found[..., :1], found)


def gathered(values: Float[Tensor, "b n c"], index: Int[Tensor, "b i"]) -> Float[Tensor, "b i c"]:
    """Rows of each cloud by their indices."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
