"""ImageBind's trunks: stem, transformer, head and scale of one modality, under the published checkpoint's key names.

Written from facts (arXiv 2305.05665 and the checkpoint's keys and shapes). A trunk is four modules that the published
file keeps in four mappings, `modality_{preprocessors,trunks,heads,postprocessors}.<name>`; `attach` lays them there.
tokens = [cls ; stem(x)] + positions; a pre-norm transformer; LayerNorm, pick one token, project; unit length; a scale.

Letters: b items (media times clips), t frames, c channels, n tokens, d width, o out_dim.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.layers import Block


@dataclass(frozen=True)
class VisionSizes:
    """Images and clips of `frames` frames. `kernel` and `stride` are (time, height, width), or one side of a patch."""

    dim: int = 1280
    depth: int = 32
    heads: int = 16
    out_dim: int = 1024
    mlp_ratio: int = 4
    image_size: int = 224
    frames: int = 2
    kernel: int | Sequence[int] = (2, 14, 14)
    stride: int | Sequence[int] | None = None  # None: the kernel, patches side by side

    @property
    def extent(self) -> tuple[int, int, int]:
        """The input's time, height and width."""
        return self.frames, self.image_size, self.image_size


@dataclass(frozen=True)
class AudioSizes:
    """Log-mel spectrograms of `mels` bins by `length` frames."""

    dim: int = 768
    depth: int = 12
    heads: int = 12
    out_dim: int = 1024
    mlp_ratio: int = 4
    mels: int = 128
    length: int = 204
    kernel: int | Sequence[int] = 16
    stride: int | Sequence[int] | None = 10

    @property
    def extent(self) -> tuple[int, int, int]:
        """The input's time (none), height and width."""
        return 1, self.mels, self.length


@dataclass(frozen=True)
class TextSizes:
    """Token ids of a fixed `context`; the end token has the highest id."""

    dim: int = 1024
    depth: int = 24
    heads: int = 16
    out_dim: int = 1024
    mlp_ratio: int = 4
    vocab: int = 49408
    context: int = 77


Sizes = VisionSizes | AudioSizes | TextSizes
SIZES: dict[str, type[Sizes]] = {"vision": VisionSizes, "audio": AudioSizes, "text": TextSizes}


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


class MelStem(nn.Module):
    """The stem of spectrograms, normalised."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int], dim: int):
        super().__init__()
        self.stride = stride
        self.proj = nn.Conv2d(1, dim, kernel[1:], stride[1:], bias=False)
        self.norm_layer = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, "b 1 1 h w"]) -> Float[Tensor, "b 1 h1 w1 d"]:
        """Patches of a spectrogram."""
        return self.norm_layer(patchify(x, self.proj.weight[:, :, None], self.stride))  # type: ignore[no-any-return]


class MediaPreprocessor(nn.Module):
    """Pixels or mel bins to tokens: [cls ; patches] + positions."""

    def __init__(self, sizes: VisionSizes | AudioSizes):
        super().__init__()
        vision = isinstance(sizes, VisionSizes)
        kernel = _three(sizes.kernel, 2 if vision else 1)
        stride = _three(sizes.kernel if sizes.stride is None else sizes.stride, kernel[0])
        grid = tuple((size - k) // s + 1 for size, k, s in zip(sizes.extent, kernel, stride, strict=True))
        if min(grid) < 1:
            raise ValueError(f"a kernel of {kernel} is larger than the input of {sizes.extent} (time, height, width)")
        self.channels = 3 if vision else 1
        self.cls_token = nn.Parameter(torch.zeros(1, 1, sizes.dim))
        self.rgbt_stem = (VideoStem if vision else MelStem)(kernel, stride, sizes.dim)
        self.pos_embedding_helper = Positions((grid[0], grid[1], grid[2]), sizes.dim)

    def forward(self, x: Float[Tensor, "b c *t h w"]) -> Float[Tensor, "b n d"]:
        """Tokens of images (b, 3, h, w), spectrograms (b, 1, mel, time) or clips (b, 3, t, h, w)."""
        x = x if x.ndim == 5 else x[:, :, None]
        if x.shape[1] != self.channels:
            raise ValueError(f"this trunk reads (b, {self.channels}, [t,] h, w), given {tuple(x.shape)}")
        patches = self.rgbt_stem(x)
        b, t, h, w, _ = patches.shape
        tokens = torch.cat([self.cls_token.to(patches.dtype).expand(b, -1, -1), patches.flatten(1, 3)], dim=1)
        return tokens + self.pos_embedding_helper((t, h, w)).to(tokens.dtype)  # type: ignore[no-any-return]


class TextPreprocessor(nn.Module):
    """Token ids to tokens with positions."""

    def __init__(self, vocab: int, context: int, dim: int):
        super().__init__()
        self.token_embedding = nn.Embedding(vocab, dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.pos_embed = nn.Parameter(torch.randn(1, context, dim) * 0.01)
        self.register_buffer("mask", torch.full((context, context), -math.inf).triu(1))  # a key of the published file

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Embed ids; a text shorter than the context takes the first positions."""
        return self.token_embedding(ids) + self.pos_embed[:, : ids.shape[1]]  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """The blocks; the vision trunk normalises once before them."""

    def __init__(self, sizes: Sizes):
        super().__init__()
        vision = isinstance(sizes, VisionSizes)
        self.causal = isinstance(sizes, TextSizes)
        self.pre_transformer_layer = nn.Sequential(nn.LayerNorm(sizes.dim, eps=1e-6)) if vision else nn.Identity()
        bias_kv = isinstance(sizes, AudioSizes)
        self.blocks = nn.ModuleList(
            Block(sizes.dim, sizes.heads, mlp_ratio=sizes.mlp_ratio, bias_kv=bias_kv) for _ in range(sizes.depth)
        )

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Run the blocks."""
        x = self.pre_transformer_layer(x)
        for block in self.blocks:
            x = block(x, causal=self.causal)
        return x


class TextHead(nn.Module):
    """The text trunk's head under its published names `proj.0`, `proj.1`."""

    def __init__(self, dim: int, out_dim: int):
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, out_dim, bias=False))

    def forward(self, x: Float[Tensor, "b *n d"]) -> Float[Tensor, "b *n o"]:
        """Normalise and project."""
        return self.proj(x)  # type: ignore[no-any-return]


class LogitScale(nn.Module):
    """A factor exp(log_logit_scale), at most 100: learned for text, a constant 20 for audio."""

    def __init__(self, scale: float, *, learned: bool):
        super().__init__()
        value = torch.full((), math.log(scale))
        if learned:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, x: Float[Tensor, "b *n o"]) -> Float[Tensor, "b *n o"]:
        """Scale."""
        return x * self.log_logit_scale.exp().clamp(max=100).to(x.dtype)


def attach(mappings: Sequence[nn.ModuleDict], name: str, sizes: Sizes) -> None:
    """Build the trunk `name` into the four mappings: preprocessors, trunks, heads, postprocessors."""
    preprocessors, trunks, heads, postprocessors = mappings
    head = nn.Sequential(
        nn.LayerNorm(sizes.dim, eps=1e-6), nn.Identity(), nn.Linear(sizes.dim, sizes.out_dim, bias=False)
    )
    if isinstance(sizes, TextSizes):
        preprocessors[name] = TextPreprocessor(sizes.vocab, sizes.context, sizes.dim)
        heads[name] = TextHead(sizes.dim, sizes.out_dim)
        postprocessors[name] = nn.Sequential(nn.Identity(), LogitScale(1 / 0.07, learned=True))
    else:
        preprocessors[name] = MediaPreprocessor(sizes)
        heads[name] = head
        scaled = isinstance(sizes, AudioSizes)
        postprocessors[name] = (
            nn.Sequential(nn.Identity(), LogitScale(20.0, learned=False)) if scaled else nn.Identity()
        )
    trunks[name] = Transformer(sizes)


def _three(size: int | Sequence[int], time: int) -> tuple[int, int, int]:
    """(time, height, width) of a side, of (height, width) or of all three."""
    height, width = (size, size) if isinstance(size, int) else size[-2:]
    return (size[0] if not isinstance(size, int) and len(size) == 3 else time, height, width)
