"""ImageBind: one embedding space for pictures, videos, sound and text (arXiv 2305.05665), tiny or huge.

`ImageBindEncoder` is one frozen trunk as an encoder; `ImageBind` holds several, to be trained contrastively. Both keep
the published checkpoint's key names: `imagebind_huge.pth` loads directly, and only the keys of the trunks at hand are
read. Sizes left out are those of the published model, `imagebind_huge(trunk)`.

Letters: b media items, s clips or views of an item, n tokens, o out_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import Encoder, OutputKind, TextBatch, Tokens

from .imagebind_transforms import AudioTransform, TextTransform, VisionTransform
from .imagebind_trunk import SIZES, Sizes, TextSizes, VisionSizes, attach
from .weights import load

MAPPINGS = ("modality_preprocessors", "modality_trunks", "modality_heads", "modality_postprocessors")


def imagebind_huge(trunk: str) -> dict[str, Any]:
    """The published sizes of a trunk, as keyword arguments."""
    return asdict(sizes_of(trunk, {}))


def sizes_of(trunk: str, given: Mapping[str, Any]) -> Sizes:
    """The sizes of a trunk: those given, the rest as published."""
    if trunk not in SIZES:
        raise ValueError(f"trunk: {trunk!r} is not one of {', '.join(SIZES)}")
    known = [field.name for field in fields(SIZES[trunk])]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"the {trunk} trunk has no {', '.join(unknown)}; its sizes are {', '.join(known)}")
    return SIZES[trunk](**given)


class ImageBind(nn.Module):
    """Several trunks over one space; `trunks` maps their names to sizes."""

    def __init__(self, trunks: Mapping[str, Mapping[str, Any]], *, path: str | None = None):
        super().__init__()
        self.modality_preprocessors = nn.ModuleDict()
        self.modality_trunks = nn.ModuleDict()
        self.modality_heads = nn.ModuleDict()
        self.modality_postprocessors = nn.ModuleDict()
        for name, given in trunks.items():
            attach(_mappings(self), name, sizes_of(name, given))
        if path is not None:
            load(self, path)

    def embed(self, trunk: str, x: Tensor, *, scaled: bool = False) -> Float[Tensor, "b o"]:
        """Embeddings of unit length, or `scaled` as published; clips (b, s, ...) are averaged after that."""
        return embed(self, trunk, x, scaled=scaled)


class ImageBindEncoder(Encoder):
    """One trunk. `output="global"` is the embedding, `"patches"` the projected tokens after the cls token.

    Both are of unit length (NExT-GPT, PandaGPT); `scaled` applies the published factor (20 for audio). An item of
    several clips is their mean. `clips`, `clip_seconds` and `crops` say how the transform cuts sound and video.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        trunk: Literal["vision", "audio", "text"] = "vision",
        output: OutputKind = "global",
        scaled: bool = False,
        dim: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        out_dim: int | None = None,
        mlp_ratio: int | None = None,
        kernel: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        image_size: int | None = None,
        frames: int | None = None,
        mels: int | None = None,
        length: int | None = None,
        vocab: int | None = None,
        context: int | None = None,
        clips: int | None = None,
        clip_seconds: float = 2.0,
        crops: int = 3,
        tokenizer: str | None = None,
    ):
        super().__init__()
        if output not in ("global", "patches"):
            raise ValueError(f"output: {output!r} is not one of global, patches")
        given: dict[str, Any] = {"dim": dim, "depth": depth, "heads": heads, "out_dim": out_dim, "mlp_ratio": mlp_ratio}
        given |= {"kernel": kernel, "stride": stride, "image_size": image_size, "frames": frames}
        given |= {"mels": mels, "length": length, "vocab": vocab, "context": context}
        sizes = sizes_of(trunk, {name: value for name, value in given.items() if value is not None})
        self.trunk, self.output, self.scaled, self.dim = trunk, output, scaled, sizes.out_dim
        self.modality_preprocessors = nn.ModuleDict()
        self.modality_trunks = nn.ModuleDict()
        self.modality_heads = nn.ModuleDict()
        self.modality_postprocessors = nn.ModuleDict()
        attach(_mappings(self), trunk, sizes)
        self.transform: Callable[[Any], dict[str, Tensor]] = _transform(sizes, clips, clip_seconds, crops, tokenizer)
        if path is not None:
            load(self, path)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode the transform's stacked tensor: pixels, mel or ids."""
        (x,) = inputs.values()
        if self.output == "global":
            return Tokens.full(embed(self, self.trunk, x, scaled=self.scaled)[:, None])
        values = embed(self, self.trunk, x, scaled=self.scaled, patches=True)
        if self.trunk != "text":
            return Tokens.full(values)
        return Tokens(values, torch.arange(x.shape[1], device=x.device) <= x.argmax(-1, keepdim=True))


def embed(
    model: ImageBind | ImageBindEncoder, trunk: str, x: Tensor, *, scaled: bool, patches: bool = False
) -> Float[Tensor, "b *n o"]:
    """Run one trunk: tokens, transformer, head, unit length, scale, then the mean over clips."""
    if trunk not in model.modality_trunks:
        raise ValueError(f"trunk: {trunk!r} is not one of {', '.join(model.modality_trunks)}")
    items = len(x)
    several = x.ndim >= 5  # (b, s, ...): clips or views of an item
    dtype = next(model.modality_trunks[trunk].parameters()).dtype
    x = (x.flatten(0, 1) if several else x).to(dtype if x.is_floating_point() else x.dtype)
    states = model.modality_trunks[trunk](model.modality_preprocessors[trunk](x))
    if patches:
        states = states if trunk == "text" else states[:, 1:]
    else:
        states = states[torch.arange(len(x)), x.argmax(-1)] if trunk == "text" else states[:, 0]
    y = F.normalize(model.modality_heads[trunk](states), dim=-1)
    y = model.modality_postprocessors[trunk](y) if scaled else y
    return y.reshape(items, -1, *y.shape[1:]).mean(1) if several else y


def _mappings(model: ImageBind | ImageBindEncoder) -> list[nn.ModuleDict]:
    return [model.get_submodule(name) for name in MAPPINGS]  # type: ignore[misc]


def _transform(
    sizes: Sizes, clips: int | None, clip_seconds: float, crops: int, tokenizer: str | None
) -> Callable[[Any], dict[str, Tensor]]:
    """The transform that makes a trunk's input."""
    if isinstance(sizes, VisionSizes):
        return VisionTransform(sizes.image_size, sizes.frames, clips or 5, crops, clip_seconds)
    if isinstance(sizes, TextSizes):
        return TextTransform(tokenizer or "tokenizer.json", sizes.context)
    return AudioTransform(mels=sizes.mels, length=sizes.length, clips=clips or 3, clip_seconds=clip_seconds)
