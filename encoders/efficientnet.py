"""EfficientNet-Lite0's features: a pretrained picture encoder of 3.4 M parameters (arXiv 1905.11946, the Lite variant).

B0's table without squeeze-and-excitation, ReLU6 for swish, stem and head of fixed width, TensorFlow's "same" padding.
Key names are those of the published PyTorch checkpoint, which loads directly; its classifier is not read.

Letters: b items, t frames, c channels, h height, w width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Encoder, TextBatch, Tokens

from .pictures import PictureTransform
from .weights import load

STEM, HEAD = 32, 1280
STAGES = (  # expansion, channels, blocks, stride, kernel
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
PYRAMID = (24, 40, 80, 112, 192)  # widths of stages 2 to 6
PYRAMID_DIM = 3 * sum(PYRAMID) + 4 * sum(PYRAMID[1:])


class SameConv2d(nn.Conv2d):
    """A convolution whose output has ceil(size / stride) rows; the odd row of padding goes below and right."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h1 w1"]:
        """Pad and convolve."""
        pads: list[int] = []
        for size, kernel, stride in zip(input.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(input, pads) if any(pads) else input)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel, project; the input is added where the shape is kept."""

    def __init__(self, dim_in: int, dim_out: int, *, expansion: int, kernel: int, stride: int):
        super().__init__()
        width = dim_in * expansion
        self.skip = stride == 1 and dim_in == dim_out
        if expansion != 1:
            self._expand_conv: nn.Module = SameConv2d(dim_in, width, 1, bias=False)
            self._bn0: nn.Module = _norm(width)
        else:
            self._expand_conv, self._bn0 = nn.Identity(), nn.Identity()
        self._depthwise_conv = SameConv2d(width, width, kernel, stride, groups=width, bias=False)
        self._bn1 = _norm(width)
        self._project_conv = SameConv2d(width, dim_out, 1, bias=False)
        self._bn2 = _norm(dim_out)
        self.expands = expansion != 1

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h1 w1"]:
        """Run the block."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return y + x if self.skip else y  # type: ignore[no-any-return]


class EfficientNetEncoder(Encoder):
    """Pictures to one pooled token (`global`) or the grid of the last features (`patches`), 1280 wide.

    `pyramid` is one token 3040 wide of what stages 2 to 6 say: mean, maximum and deviation of each map, then the means
    of its quarters (from stage 3 on), every group normalised. Drawings differ from photographs most in the last layers:
    on emoji of an artist never seen, a linear map of it names 72% where one of `global` names 60%.

    `size` is the side pictures are resized to (published: 224); a video is the mean over `frames` of its frames.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        output: Literal["global", "patches", "pyramid"] = "global",
        size: int = 224,
        frames: int = 4,
    ):
        super().__init__()
        if output not in ("global", "patches", "pyramid"):
            raise ValueError(f"output: {output!r} is not one of global, patches, pyramid")
        self.output = output
        self.dim = PYRAMID_DIM if output == "pyramid" else HEAD
        self.transform = PictureTransform(size, frames, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        self._conv_stem = SameConv2d(3, STEM, 3, 2, bias=False)
        self._bn0 = _norm(STEM)
        blocks, dim_in = [], STEM
        for expansion, channels, count, first_stride, kernel in STAGES:
            for i in range(count):
                stride = first_stride if i == 0 else 1
                blocks.append(InvertedBottleneck(dim_in, channels, expansion=expansion, kernel=kernel, stride=stride))
                dim_in = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv2d(dim_in, HEAD, 1, bias=False)
        self._bn1 = _norm(HEAD)
        if path is not None:
            load(self, path)

    def maps(self, x: Float[Tensor, "b 3 h w"]) -> Iterator[Float[Tensor, "b d h1 w1"]]:
        """The map each of the seven stages ends with."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        blocks = iter(self._blocks)
        for _, _, count, _, _ in STAGES:
            for block in islice(blocks, count):
                x = block(x)
            yield x

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d h1 w1"]:
        """The last feature map: a 32nd of the input's side."""
        *_, x = self.maps(x)
        return F.relu6(self._bn1(self._conv_head(x)))

    def pyramid(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 d"]:
        """Statistics of the maps of stages 2 to 6."""
        maps = [x.float() for x in islice(self.maps(x), 1, 6)]
        groups = (
            [x.mean((2, 3)) for x in maps]
            + [x.amax((2, 3)) for x in maps]
            + [x.std((2, 3), correction=0) for x in maps]
        )
        groups += [F.adaptive_avg_pool2d(x, 2).flatten(1) for x in maps[1:]]
        return torch.cat([F.layer_norm(x, x.shape[1:]) for x in groups], 1)[:, None].to(self._conv_stem.weight.dtype)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) or (b, t, 3, h, w)."""
        pixels = inputs["pixels"].to(self._conv_stem.weight.dtype)
        pictures = pixels.flatten(0, -4)
        x = self.pyramid(pictures) if self.output == "pyramid" else self.features(pictures).flatten(2).transpose(1, 2)
        x = x.mean(1, keepdim=True) if self.output == "global" else x
        if pixels.ndim == 5:
            x = x.reshape(*pixels.shape[:2], *x.shape[1:]).mean(1)
        return Tokens.full(x)


def _norm(dim: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(dim, eps=1e-3, momentum=0.01)
