"""Latent resamplers as input projectors: one class, and the keywords that make it each published one.

| preset | system | latents | width | blocks | what is its own |
|---|---|---|---|---|---|
| anyx | ours | 32 | the encoder's | 2 | maps before and after |
| flamingo | OpenFlamingo, Otter | 64 | the encoder's | 6 of 8 x 64 | no biases, a norm at the end |
| qwen | Qwen-VL | 256 | the LLM's | 1 of 32 heads | 16 x 16 grid, no residual, no MLP, a norm and a map after |
| owl | mPLUG-Owl | 64 + 1 | the encoder's | 6 of 16 heads | residual of the normed, SwiGLU, a learned end vector |
| owl2 | mPLUG-Owl2 | 64 + 1 | the encoder's | 6 of 16 heads | as owl, with positions |
| kosmos2 | Kosmos-2 | 64 | the LLM's | 1 of 32 heads | no norms, no residual, no MLP |
| octavius | Octavius' points | 16 | 768 | 1 of 12 heads | its sizes alone are published: in Flamingo's form |

Letters: b media items, n encoder tokens, l latents, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn

from anyx.interfaces import InputProjector, Tokens
from anyx.latents import LatentResampler

Preset = Literal["anyx", "flamingo", "qwen", "owl", "owl2", "kosmos2", "octavius"]
FLAMINGO: dict[str, Any] = {"heads": 8, "head_dim": 64, "bias": False, "tokens": 64, "depth": 6}
SINGLE: dict[str, Any] = {"depth": 1, "heads": 32, "residual": "none", "mlp": "none", "norm_out": False}
OWL: dict[str, Any] = {"tokens": 64, "depth": 6, "heads": 16, "feed": 2816, "residual": "normed", "mlp": "swiglu"}
OWL |= {"norm_out": False, "after": "map", "end": True}
# `width`: of the encoder's ("in") or the LLM's ("out") tokens, or the most of the former that the heads share evenly
# ("whole"). `before`, `after`: maps to it and from it, "bare" without a bias, "none" where the widths allow.
COMMON: dict[str, Any] = {"width": "in", "before": "none", "after": "none", "end": False, "norm_after": False}
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "anyx": COMMON | {"tokens": 32, "depth": 2, "heads": 8, "width": "whole", "before": "map", "after": "map"},
    "flamingo": COMMON | FLAMINGO,
    "qwen": COMMON
    | SINGLE
    | {"tokens": 256, "width": "out", "before": "bare", "norm_after": True, "eps": 1e-6}
    | {"reads_latents": False, "positions": "square"},
    "owl": COMMON | OWL,
    "owl2": COMMON | OWL | {"positions": "line"},
    "kosmos2": COMMON | SINGLE | {"tokens": 64, "width": "out", "before": "map", "norm": False},
    "octavius": COMMON | FLAMINGO | {"tokens": 16, "depth": 1, "heads": 12, "width": 768, "after": "map"},
}


class ResamplerInputProjector(InputProjector):
    """`tokens` learned latents read the encoder's tokens through `depth` blocks of width `hidden`.

    `preset` is one of the table above; what else is given takes the place of its values: `heads`, each `head_dim` wide,
    `feed` the width of the MLP, `eps` of norms. 32 latents are what BLIP-2 makes of 257 patches of an image; each costs
    the LLM as much as a word. `frames` more than 0: an item is so many frames, each with a learned vector.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        preset: Preset = "anyx",
        tokens: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        hidden: int | None = None,
        head_dim: int | None = None,
        feed: int | None = None,
        eps: float | None = None,
        frames: int = 0,
    ):
        super().__init__()
        if preset not in PRESETS:
            raise ValueError(f"preset: {preset!r} is not one of {', '.join(get_args(Preset))}")
        counts = {"tokens": tokens, "depth": depth, "heads": heads, "width": hidden, "head_dim": head_dim, "feed": feed}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, given {value}")
        if frames < 0:
            raise ValueError(f"frames must not be negative, given {frames}")
        given = {name: value for name, value in (counts | {"eps": eps}).items() if value is not None}
        made: dict[str, Any] = {**PRESETS[preset], **given}
        whole = max(made["heads"], dim_in // made["heads"] * made["heads"])
        width = made.pop("width")
        width = {"in": dim_in, "out": dim_out, "whole": whole}.get(width, width)
        before, after, end, norm_after = (made.pop(name) for name in ("before", "after", "end", "norm_after"))
        head_dim, made["hidden"] = made.pop("head_dim", None), made.pop("feed", None)
        made["inner"] = None if head_dim is None else head_dim * made["heads"]
        self.frames = frames
        self.proj_in = mapping(before, dim_in, width)
        self.resampler = LatentResampler(width, made.pop("tokens"), frames=frames, **made)
        self.norm_after = nn.LayerNorm(width, eps=made.get("eps", 1e-5)) if norm_after else nn.Identity()
        self.proj_out = nn.Linear(width, dim_out, bias=False) if norm_after else mapping(after, width, dim_out)
        self.end = nn.Parameter(torch.randn(1, 1, dim_out) * 0.02) if end else None

    def forward(self, x: Tokens) -> Tokens:
        """Read all real tokens of an item into a fixed number."""
        frames = max(self.frames, 1)
        if x.values.shape[1] % frames:
            raise ValueError(
                f"frames: {frames} given, but {x.values.shape[1]} tokens of an item are no multiple of that"
            )
        y = self.resampler(self.proj_in(x.values), x.mask, frames=frames)
        y = self.proj_out(self.norm_after(y))
        if self.end is not None:
            y = torch.cat([y, self.end.to(y.dtype).expand(len(y), -1, -1)], dim=1)
        return Tokens.full(y)


def mapping(kind: str, dim_in: int, dim_out: int) -> nn.Module:
    """A linear map, "bare" without a bias and only where widths differ; "none" is one where widths force it."""
    if dim_in == dim_out and kind != "map":
        return nn.Identity()
    return nn.Linear(dim_in, dim_out, bias=kind != "bare")
