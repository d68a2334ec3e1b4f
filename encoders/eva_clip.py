"""EVA-CLIP-g through transformers' `Blip2VisionModel`: the eye of BLIP-2, InstructBLIP, MiniGPT-4 and MiniGPT-v2.

A ViT (EVA, arXiv 2303.15389) of width 1408, pre-norm, patches of 14, of whose 40 blocks BLIP-2 keeps 39, followed by a
LayerNorm of BLIP-2's own (`ln_vision`). MiniGPT-v2 creates that LayerNorm but never loads it, so it runs with weight 1
and bias 0: `post_ln: identity`. Positions are learned for 16 x 16 patches and interpolated once to other sizes.

Letters: b items, t frames, n tokens of a picture, d width, h height, w width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from anyx.interfaces import Encoder, TextBatch, Tokens
from anyx.layers import stretched
from anyx.signatures import Count, require

from .pictures import CLIP_MEAN, CLIP_STD, PictureTransform

LN_VISION_EPS = 1e-5  # LAVIS's `ln_vision`; transformers' port has the blocks' 1e-6
WHOLE = {r"^vision_model\.": ""}  # what a whole BLIP-2's file has before the tower's keys
PostLn = Literal["loaded", "identity", "none"]


class EvaClipEncoder(Encoder):
    """The class token and the patch tokens, or the patches alone (`keep_cls: false`), after the last kept block.

    `path` is a folder or hub id of a BLIP-2's weights or of its vision model's, `config` a mapping for transformers'
    `Blip2VisionConfig` (random weights); one of the two. `blocks` keeps the first so many. `size` is the side of the
    pictures, the published one unless given; the table of positions is interpolated to it (bicubic).

    `post_ln` is the LayerNorm at the end: `loaded` (`eps` 1e-6 as in transformers unless given; LAVIS has 1e-5),
    `identity` (it normalises, but has no weights; `eps` 1e-5) or `none`. A video is read frame by frame, the tokens of
    its `frames` frames laid end to end.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        config: Mapping[str, Any] | None = None,
        post_ln: PostLn = "loaded",
        eps: float | None = None,
        keep_cls: bool = True,
        blocks: Count | None = None,
        size: Count | None = None,
        frames: Count = 4,
    ):
        super().__init__()
        from transformers import Blip2VisionConfig, Blip2VisionModel

        if (path is None) == (config is None):
            raise ValueError("give either path (a folder or hub id) or config (sizes of a random tower)")
        if post_ln not in ("loaded", "identity", "none"):
            raise ValueError(f"post_ln: {post_ln!r} is not one of loaded, identity, none")
        require("config", config or {}, Blip2VisionConfig)
        sizes = Blip2VisionConfig(**(config or {})) if path is None else Blip2VisionConfig.from_pretrained(path)
        if blocks is not None and not 1 <= blocks <= sizes.num_hidden_layers:
            raise ValueError(f"blocks: {blocks} is not within 1 and {sizes.num_hidden_layers}, those of the tower")
        size = sizes.image_size if size is None else size
        if size < sizes.patch_size or size % sizes.patch_size:
            raise ValueError(f"size: {size} is no multiple of the patches' {sizes.patch_size}")
        planning = torch.get_default_device().type == "meta"  # reads no weights
        if path is None or planning:
            tower: Any = Blip2VisionModel(sizes)
        else:
            tower, read = Blip2VisionModel.from_pretrained(path, key_mapping=WHOLE, output_loading_info=True)
            if missing := sorted(read["missing_keys"]):
                raise ValueError(f"path: {path} lacks {len(missing)} weights of the tower, first {missing[0]!r}")
        tower.encoder.layers = tower.encoder.layers[:blocks]
        if size != sizes.image_size:
            own = tower.embeddings.position_embedding.detach()[0]
            table = torch.cat([own[:1], stretched(own[1:], size // sizes.patch_size)])
            tower.embeddings.position_embedding = nn.Parameter(table[None])
        if post_ln == "none":
            tower.post_layernorm = nn.Identity()
        elif post_ln == "identity":
            tower.post_layernorm = nn.LayerNorm(sizes.hidden_size, eps or LN_VISION_EPS, elementwise_affine=False)
        elif eps is not None:
            tower.post_layernorm.eps = eps
        self.tower: nn.Module = tower
        self.keep_cls, self.dim = keep_cls, sizes.hidden_size
        self.transform = PictureTransform(size, frames, CLIP_MEAN, CLIP_STD, fit="stretch")

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) to (b, n, d), or (b, t, 3, h, w) to (b, t n, d)."""
        pixels = inputs["pixels"].to(next(self.tower.parameters()).dtype)
        states = self.tower(pixel_values=pixels.flatten(0, -4)).last_hidden_state
        states = states if self.keep_cls else states[:, 1:]
        return Tokens.full(states.reshape(len(pixels), -1, self.dim))
