"""From transformed media to tokens: the stems and positions of ImageBind's trunks, under the published key names.

Pictures, clips, spectrograms, maps of depth and of heat are cut into patches on a grid, readings of sensors into spans
of time, text into ids. tokens = [cls ; stem(x)] + positions; text has no cls token.

Letters: b items (media times clips), t frames, c channels, n tokens, d width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .imagebind_sizes import GridSizes, ImuSizes, TextSizes


class Positions(nn.Module):
    """Learned positions of a cls token and a grid (time, height, width)."""

    def __init__(self, grid: tuple[int, int, int], dim: int):
        super().__init__()
        self.grid = grid
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1 + math.prod(grid), dim), std=0.02))

    def forward(self, grid: tuple[int, int, int]) -> Float[Tensor, "1 n d"]:
        """The positions of a grid: the first times of ours, resized in space where the input is larger."""
        if grid == self.grid:
            return self.pos_embed
        if grid[0] > self.grid[0]:
            raise ValueError(f"{grid[0]} time steps given, this trunk has positions for {self.grid[0]}")
        cls, patches = self.pos_embed[:, :1], self.pos_embed[:, 1:].reshape(*self.grid, -1)[: grid[0]]
        if grid[1:] != self.grid[1:]:  # published: one factor for both sides, used for the coordinates too
            factor = math.sqrt(math.prod(grid[1:]) / math.prod(self.grid[1:]))
            planes = F.interpolate(patches.permute(0, 3, 1, 2), scale_factor=factor, mode="bicubic")
            patches = planes.permute(0, 2, 3, 1)
            if patches.shape[1:3] != grid[1:]:
                raise ValueError(f"a grid of {grid[1:]} patches is no scaling of {self.grid[1:]}")
        return torch.cat([cls, patches.flatten(0, 2)[None]], dim=1)


def patchify(
    x: Float[Tensor, "b c t h w"], weight: Float[Tensor, "d c kt kh kw"], stride: tuple[int, int, int]
) -> Float[Tensor, "b t1 h1 w1 d"]:
    """A strided convolution without bias; a single frame counts as repeated over the kernel's time."""
    if x.shape[2] == 1:
        weight, stride = weight.sum(2, keepdim=True), (1, *stride[1:])
    if weight.shape[2:] == stride:  # patches side by side are one matrix product, the fast path on every device
        t, h, w = (size - size % step for size, step in zip(x.shape[2:], stride, strict=True))
        steps = dict(zip(("kt", "kh", "kw"), stride, strict=True))
        patches = rearrange(x[:, :, :t, :h, :w], "b c (t kt) (h kh) (w kw) -> b t h w (c kt kh kw)", **steps)
        return F.linear(patches, weight.flatten(1))
    if weight.shape[2] == 1:
        return F.conv2d(x[:, :, 0], weight[:, :, 0], stride=stride[1:]).permute(0, 2, 3, 1)[:, None]
    return F.conv3d(x, weight, stride=stride).permute(0, 2, 3, 4, 1)


class VideoStem(nn.Module):
    """The stem of images and clips; item 0 of the published `proj` repeats a still image, which `patchify` does."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int], dim: int):
        super().__init__()
        self.stride = stride
        self.proj = nn.Sequential(nn.Identity(), nn.Conv3d(3, dim, kernel, stride, bias=False))

    def forward(self, x: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b t1 h1 w1 d"]:
        """Patches of a clip."""
        return patchify(x, cast(nn.Conv3d, self.proj[1]).weight, self.stride)


class GreyStem(nn.Module):
    """The stem of spectrograms, depth and heat, normalised."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int], dim: int):
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(1, dim, kernel[1:], stride[1:], bias=False)
        self.norm_layer = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "b 1 1 h w"]) -> Float[Tensor, "b 1 h1 w1 d"]:
        """Patches of one channel."""
        return self.norm_layer(patchify(x, self.proj.weight[:, :, None], self.stride))  # type: ignore[no-any-return]


class GridPreprocessor(nn.Module):
    """What lies on a grid, to tokens: [cls ; patches] + positions."""

    rank = 4  # dimensions of a batch (b, c, h, w); one of clips has more

    def __init__(self, sizes: GridSizes):
        super().__init__()
        kernel = _three(sizes.kernel, sizes.steps)
        stride = _three(sizes.kernel if sizes.stride is None else sizes.stride, kernel[0])
        grid = tuple((size - k) // s + 1 for size, k, s in zip(sizes.extent, kernel, stride, strict=True))
        if min(grid) < 1:
            raise ValueError(f"a kernel of {kernel} is larger than the input of {sizes.extent} (time, height, width)")
        self.pixels, self.stem = sizes.pixels, sizes.stem
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.dim))
        self.add_module(self.stem, (VideoStem if sizes.pixels == 3 else GreyStem)(kernel, stride, sizes.dim))
        self.pos_embedding_helper = Positions((grid[0], grid[1], grid[2]), sizes.dim)

    def forward(self, x: Float[Tensor, "b c *t h w"]) -> Float[Tensor, "b n d"]:
        """Tokens of pictures (b, c, h, w), spectrograms (b, 1, mel, time) or clips (b, c, t, h, w)."""
        x = x if x.ndim == 5 else x[:, :, None]
        if x.shape[1] != self.pixels:
            raise ValueError(f"this trunk reads (b, {self.pixels}, [t,] h, w), given {tuple(x.shape)}")
        patches = self.get_submodule(self.stem)(x)
        b, t, h, w, _ = patches.shape
        tokens = torch.cat([self.cls_token.to(patches.dtype).expand(b, -1, -1), patches.flatten(1, 3)], dim=1)
        return tokens + self.pos_embedding_helper((t, h, w)).to(tokens.dtype)  # type: ignore[no-any-return]


class SpanStem(nn.Module):
    """The stem of readings: `kernel` steps of all channels, channel after channel, to one token, normalised."""

    def __init__(self, kernel: int, channels: int, dim: int):
        super().__init__()
        self.kernel = kernel
        self.proj = nn.Linear(channels * kernel, dim, bias=False)
        self.norm_layer = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "b c s"]) -> Float[Tensor, "b n d"]:
        """Spans side by side; what does not fill one is left out."""
        spans = rearrange(x[..., : x.shape[-1] // self.kernel * self.kernel], "b c (n k) -> b n (c k)", k=self.kernel)
        return self.norm_layer(self.proj(spans))  # type: ignore[no-any-return]


class ImuPreprocessor(nn.Module):
    """Readings of an inertial measurement unit to tokens: [cls ; spans] + positions."""

    rank = 3

    def __init__(self, sizes: ImuSizes):
        super().__init__()
        self.reads = (sizes.channels, sizes.length)
        if not 1 <= sizes.kernel <= sizes.length:
            raise ValueError(f"kernel: {sizes.kernel} is not within 1 and the length of {sizes.length}")
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + sizes.length // sizes.kernel, sizes.dim))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.imu_stem = SpanStem(sizes.kernel, sizes.channels, sizes.dim)

    def forward(self, x: Float[Tensor, "b c s"]) -> Float[Tensor, "b n d"]:
        """Tokens of one window."""
        if x.ndim != 3 or x.shape[1:] != self.reads:
            raise ValueError(f"this trunk reads (b, {self.reads[0]}, {self.reads[1]}), given {tuple(x.shape)}")
        spans = self.imu_stem(x)
        tokens = torch.cat([self.cls_token.to(spans.dtype).expand(len(x), -1, -1), spans], dim=1)
        return tokens + self.pos_embed.to(tokens.dtype)


class TextPreprocessor(nn.Module):
    """Token ids to tokens with positions."""

    rank = 2

    def __init__(self, sizes: TextSizes):
        super().__init__()
        context = sizes.context
        self.token_embedding = nn.Embedding(sizes.vocab, sizes.dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, context, sizes.dim) * 0.01)
        self.register_buffer("mask", torch.full((context, context), -math.inf).triu(1))  # a key of the published file

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Embed ids; a text shorter than the context takes the first positions."""
        return self.token_embedding(ids) + self.pos_embed[:, : ids.shape[1]]  # type: ignore[no-any-return]


def _three(size: int | Sequence[int], time: int) -> tuple[int, int, int]:
    """(time, height, width) of a side, of (height, width) or of all three."""
    height, width = (size, size) if isinstance(size, int) else size[-2:]
    return (size[0] if not isinstance(size, int) and len(size) == 3 else time, height, width)
