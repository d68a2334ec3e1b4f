"""CLIP's vision tower through transformers: a published one by path, or a tiny one from a mapping of sizes.

Letters: b items, t frames, k pictures or tiles, n patches, d width, h height, w width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Encoder, OutputKind, TextBatch, Tokens
from anyx.signatures import require

from .pictures import CLIP_MEAN, CLIP_STD, Fit, PictureTransform
from .tiles import Merge, TileTransform, grids_of, lay_tiles

Join = Literal["mean", "frames"]


class ClipEncoder(Encoder):
    """Patch tokens of hidden layer `layer` (LLaVA: -2) or one pooled token (`global`).

    `path` is a folder or hub id of CLIP weights, `config` a mapping for transformers' `CLIPVisionConfig` (random
    weights); one of the two. `fit` says what becomes of pictures that are no squares (LLaVA-1.5: `pad`). With `grids`,
    sizes (width, height) in pixels, a picture is read in tiles, `merge`d as `tiles.lay` says (LLaVA-NeXT). `frames` are
    taken of a video: their mean, or with `join: frames` one after the other. With `project`, the class token and the
    patches after the last layer, its norm and CLIP's map to the space that it shares with texts (LLaMA-Adapter V2).
    `bgr`: red and blue change places.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        layer: int = -2,
        output: OutputKind = "patches",
        config: Mapping[str, Any] | None = None,
        frames: int = 4,
        join: Join = "mean",
        fit: Fit = "crop",
        grids: Sequence[Sequence[int]] | None = None,
        merge: Merge = "unpad",
        project: bool = False,
        bgr: bool = False,
    ):
        super().__init__()
        from transformers import CLIPVisionConfig

        choices = {"output": (output, OutputKind), "join": (join, Join), "fit": (fit, Fit), "merge": (merge, Merge)}
        for name, (value, kind) in choices.items():
            if value not in get_args(kind):
                raise ValueError(f"{name}: {value!r} is not one of {', '.join(get_args(kind))}")
        if grids is not None and output == "global":
            raise ValueError("grids: tiles are read in patches; output is global")
        if project and (grids is not None or output == "global"):
            raise ValueError("project: all tokens of a picture go through CLIP's map; no grids, no output: global")
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
        self.tower = _tower(sizes, path, project=project)
        self.layer, self.output, self.project = layer, output, project
        self.dim = sizes.projection_dim if project else sizes.hidden_size
        mean, std = (
            tuple(map(float, facts.get(f"image_{key}", usual)))
            for key, usual in (("mean", CLIP_MEAN), ("std", CLIP_STD))
        )
        picture = PictureTransform(sizes.image_size, frames, mean, std, fit, bgr)
        tiled = None if grids is None else grids_of(grids, sizes.image_size)
        self.transform = picture if tiled is None else TileTransform(picture, tiled)
        self.join, self.merge = join, merge

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode pixels (b, 3, h, w) or (b, t, 3, h, w), or those of tiles with their grids."""
        if "grid" in inputs:
            return lay_tiles(self._states, inputs, self.merge)
        pixels = inputs["pixels"]
        x = self._states(pixels.flatten(0, -4))
        if pixels.ndim == 4:
            return Tokens.full(x)
        x = x.reshape(*pixels.shape[:2], *x.shape[1:])
        if self.join == "mean":
            return Tokens.full(x.mean(1))
        side = isqrt(x.shape[2])
        square = self.output == "patches" and not self.project
        grids = ((x.shape[1], side, side),) * len(x) if square else None
        return Tokens.full(x.flatten(1, 2))._replace(layout=grids)

    def _states(self, pixels: Float[Tensor, "k 3 h w"]) -> Float[Tensor, "k n d"]:
        """Patches, or one token, of pictures of the tower's size."""
        pixels = pixels.to(next(self.tower.parameters()).dtype)
        if self.project:
            body = self.tower.get_submodule("vision_model")
            seen = body.get_submodule("post_layernorm")(body(pixel_values=pixels).last_hidden_state)
            return self.tower.get_submodule("visual_projection")(seen)  # type: ignore[no-any-return]
        states = self.tower(pixel_values=pixels, output_hidden_states=self.output == "patches")
        if self.output == "global":
            return states.pooler_output[:, None]  # type: ignore[no-any-return]
        return states.hidden_states[self.layer][:, 1:]  # type: ignore[no-any-return]


def _tower(sizes: Any, path: str | None, *, project: bool) -> nn.Module:
    """CLIP's tower, with `project` and its map to texts; on the meta device no weights are read."""
    from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

    kind: Any = CLIPVisionModelWithProjection if project else CLIPVisionModel
    if path is None or torch.get_default_device().type == "meta":
        return kind(sizes)  # type: ignore[no-any-return]
    tower, read = kind.from_pretrained(path, output_loading_info=True)
    if missing := sorted(read["missing_keys"]):
        raise ValueError(f"path: {path} lacks {len(missing)} weights of the tower, first {missing[0]!r}")
    return tower  # type: ignore[no-any-return]


def _facts(path: str) -> dict[str, Any]:
    """The published `preprocessor_config.json`: mean and deviation; CLIP's own where a folder has none."""
    from transformers.image_processing_utils import BaseImageProcessor

    try:
        return dict(BaseImageProcessor.get_image_processor_dict(path)[0])
    except OSError:
        return {}
