"""CLIP's vision tower through transformers: a published one by path, or a tiny one from a mapping of sizes.

Letters: b items, t frames, n patches, d width, h height, w width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from anyx.interfaces import Encoder, OutputKind, TextBatch, Tokens
from anyx.signatures import require

from .pictures import CLIP_MEAN, CLIP_STD, PictureTransform


class ClipEncoder(Encoder):
    """Patch tokens of hidden layer `layer` (LLaVA: -2) or one pooled token (`global`).

    `path` is a folder or hub id of CLIP weights, `config` a mapping for transformers' `CLIPVisionConfig` (random
    weights); one of the two. A video is the mean over `frames` of its frames.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        layer: int = -2,
        output: OutputKind = "patches",
        config: Mapping[str, Any] | None = None,
        frames: int = 4,
    ):
        super().__init__()
        from transformers import CLIPVisionConfig, CLIPVisionModel

        if output not in ("global", "patches"):
            raise ValueError(f"output: {output!r} is not one of global, patches")
        if (path is None) == (config is None):
            raise ValueError("give either path (a folder or hub id) or config (sizes of a random tower)")
        facts: Mapping[str, Any] = {}
        if path is None:
            require("config", config or {}, CLIPVisionConfig)
            sizes = CLIPVisionConfig(**(config or {}))
        else:
            sizes = CLIPVisionConfig.from_pretrained(path)
            facts = _facts(path)
        if not -sizes.num_hidden_layers - 1 <= layer <= sizes.num_hidden_layers:
            raise ValueError(f"layer: {layer} is not one of the {sizes.num_hidden_layers + 1} hidden layers")
        planning = torch.get_default_device().type == "meta"  # reads no weights
        self.tower: nn.Module = (
            CLIPVisionModel(sizes) if path is None or planning else CLIPVisionModel.from_pretrained(path)
        )
        self.layer, self.output, self.dim = layer, output, sizes.hidden_size
        mean, std = (
            tuple(map(float, facts.get(f"image_{key}", usual)))
            for key, usual in (("mean", CLIP_MEAN), ("std", CLIP_STD))
        )
        self.transform = PictureTransform(sizes.image_size, frames, mean, std)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) or (b, t, 3, h, w)."""
        pixels = inputs["pixels"].to(next(self.tower.parameters()).dtype)
        states = self.tower(pixel_values=pixels.flatten(0, -4), output_hidden_states=self.output == "patches")
        x = states.pooler_output[:, None] if self.output == "global" else states.hidden_states[self.layer][:, 1:]
        if pixels.ndim == 5:
            x = x.reshape(*pixels.shape[:2], *x.shape[1:]).mean(1)
        return Tokens.full(x)


def _facts(path: str) -> dict[str, Any]:
    """The published `preprocessor_config.json`: mean and deviation; CLIP's own where a folder has none."""
    from transformers.image_processing_utils import BaseImageProcessor

    try:
        return dict(BaseImageProcessor.get_image_processor_dict(path)[0])
    except OSError:
        return {}
