"""A plain vision transformer, by keywords that make it the towers of several systems.

| tower | system | keywords |
|---|---|---|
| OpenCLIP bigG | Qwen-VL | width 1664, layers 48, heads 16, hidden 8192, size 448, table 16, norm_pre, no class |
| EVA-02-CLIP-E | CogVLM | width 1792, layers 63, heads 16, hidden 15360, size 490, patch_bias, post_norm |
| UMT-L | VideoChat2 | width 1024, layers 24, heads 16, hidden 4096, patch 16, layer -2, joint 8, no class_token |
| CLIP-L | several | width 1024, layers 24, heads 16, hidden 4096, layer -2, norm_pre, quick_gelu |

Parameter names are those of `anyx.layers.Block` below `blocks`. Where a published tower has a bias on queries and on
values only (EVA, UMT), that of keys is zero: it would change no attention.

Letters: b items, t frames, n tokens, d width, h height, w width of a picture, g side of the grid of patches.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.layers import Activation, Block, stretched
from anyx.signatures import Count

from .pictures import Fit, PictureTransform
from .weights import load


class ViTEncoder(Encoder):
    """The patch tokens after hidden layer `layer` (-1 the last), with `keep_class` the class token before them.

    `size` is the side of the pictures and `table` of the grid of learned positions, which is stretched to the patches'
    (default: theirs). `norm_pre` normalises before the first block, `norm_post` what is returned. Blocks are pre-norm,
    or with `post_norm` normalise what they add. `fit` says how pictures become squares.

    Frames of a video are read by themselves and averaged; with `joint` so many are read together, with positions for
    all their patches, laid end to end. `project` is the width of a last map without a bias, such as CLIP's to the space
    that it shares with texts. `path` names weights under the names here.
    """

    def __init__(
        self,
        *,
        width: Count,
        layers: Count,
        heads: Count,
        hidden: Count,
        patch: Count = 14,
        size: Count = 224,
        table: Count | None = None,
        class_token: bool = True,
        keep_class: bool = False,
        patch_bias: bool = False,
        norm_pre: bool = False,
        norm_post: bool = False,
        post_norm: bool = False,
        activation: Activation = "gelu",
        eps: float = 1e-6,
        layer: int = -1,
        joint: Count = 1,
        frames: Count = 4,
        fit: Fit = "stretch",
        project: Count | None = None,
        path: str | None = None,
    ):
        super().__init__()
        if size < patch or size % patch:
            raise ValueError(f"size: {size} is no multiple of the patches' {patch}")
        if not -layers <= layer <= -1:
            raise ValueError(f"layer: {layer} is not within -{layers} and -1")
        if keep_class and not class_token:
            raise ValueError("keep_class: there is none to keep without class_token")
        if joint > 1 and joint != frames:
            raise ValueError(f"joint: {joint} frames are read together, but frames: {frames} are taken of a video")
        self.dim, self.joint, self.keep_class = project or width, joint, keep_class
        self.grid = table or size // patch
        self.stem = nn.Conv2d(3, width, patch, stride=patch, bias=patch_bias)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5) if class_token else None
        self.positions = nn.Parameter(torch.randn(joint * self.grid**2 + class_token, width) * width**-0.5)
        self.norm_pre = nn.LayerNorm(width, eps=eps) if norm_pre else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden=hidden, post_norm=post_norm, activation=activation, eps=eps)
            for _ in range(layers + 1 + layer)
        )
        self.norm_post = nn.LayerNorm(width, eps=eps) if norm_post else nn.Identity()
        self.project = nn.Linear(width, project, bias=False) if project else nn.Identity()
        self.transform = PictureTransform(size, frames, fit=fit)
        if path is not None:
            load(self, path)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) or (b, t, 3, h, w) to (b, n, d)."""
        pixels = inputs["pixels"].to(self.stem.weight.dtype)
        shots = pixels if pixels.ndim == 5 else pixels[:, None].expand(-1, self.joint, -1, -1, -1)
        if self.joint > 1 and shots.shape[1] != self.joint:
            raise ValueError(f"joint: {self.joint} frames are read together, but {shots.shape[1]} were given")
        maps = self.stem(shots.flatten(0, 1))
        x = maps.flatten(2).transpose(1, 2).reshape(len(maps) // self.joint, -1, maps.shape[1])
        x = self.states(x, maps.shape[-1])
        if self.joint == 1:
            x = x.reshape(len(pixels), -1, *x.shape[1:]).mean(1)
        return Tokens.full(x)

    def states(self, x: Float[Tensor, "b n d"], side: int) -> Float[Tensor, "b m d"]:
        """Patches of a grid of `side`, or of several such, through the blocks."""
        lone = self.class_embedding is not None
        tables = self.positions[int(lone) :].reshape(self.joint, -1, self.positions.shape[-1])
        places = torch.cat([stretched(each, side) for each in tables])
        x = x + places
        if self.class_embedding is not None:
            head = (self.class_embedding + self.positions[0]).expand(len(x), 1, -1)
            x = torch.cat([head, x], dim=1)
        x = self.norm_pre(x)
        for block in self.blocks:
            x = block(x)
        x = self.project(self.norm_post(x))
        return x[:, 1:] if lone and not self.keep_class else x
