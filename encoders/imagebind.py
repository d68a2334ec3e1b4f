"""ImageBind: one embedding space for six modalities (arXiv 2305.05665), tiny or huge.

Trunks: `vision` (pictures and videos), `audio`, `text`, `depth`, `thermal`, `imu` (motion). `ImageBindEncoder` is one
frozen trunk as an encoder; `ImageBind` holds several, to be trained contrastively. Both keep the published checkpoint's
key names: `imagebind_huge.pth` loads directly, and only the keys of the trunks at hand are read. Sizes left out are
those of the published model, `imagebind_huge(trunk)`.

Letters: b media items, s clips or views of an item, n tokens, o out_dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Encoder, OutputKind, TextBatch, Tokens

from .imagebind_sensors import DepthTransform, ImuTransform, ThermalTransform
from .imagebind_sizes import AudioSizes, DepthSizes, ImuSizes, Sizes, TextSizes, ThermalSizes, sizes_of
from .imagebind_text import TextTransform
from .imagebind_transforms import AudioTransform, VisionTransform
from .imagebind_trunk import attach, embed
from .weights import load

MAPPINGS = ("modality_preprocessors", "modality_trunks", "modality_heads", "modality_postprocessors")


def imagebind_huge(trunk: str) -> dict[str, Any]:
    """The published sizes of a trunk, as keyword arguments."""
    return asdict(sizes_of(trunk, {}))


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
            load(self, path, whole=_prefixes(trunks))

    def embed(self, trunk: str, x: Tensor, *, scaled: bool = False) -> Float[Tensor, "b o"]:
        """Embeddings of unit length, or `scaled` as published; clips (b, s, ...) are averaged after that."""
        return embed(_mappings(self), trunk, x, scaled=scaled)


class ImageBindEncoder(Encoder):
    """One trunk. `output="global"` is the embedding, `"patches"` the projected tokens after the cls token.

    Both are of unit length (NExT-GPT, PandaGPT); `scaled` applies the published factor (20 for audio, 5 for depth and
    IMU, 10 for thermal, learned for text). An item of several clips is their mean. What is left out, or null, is as
    published; what a trunk does not have is refused:

    - all: `dim` (width), `depth` (blocks), `heads`, `out_dim`, `mlp_ratio`; all but text and imu `kernel`, `stride`
    - vision: `image_size`, `frames` of a clip; a video is cut into `clips` (5) of `clip_seconds` (2.0) by `crops`
      (3, or 1: the centre)
    - audio: `mels`, `length` (frames); a sound is cut into `clips` (3) of `clip_seconds` (2.0); `first_channel` hears
      what the published code does of stereo sound, else the mean of all channels is heard
    - text: `vocab`, `context` (ids); `tokenizer` reads (CLIP's), and makes no more ids than `vocab`
    - depth: `image_size`; `focal` (518.86 pixels) and `baseline` (0.075 metres) of the camera of 16-bit maps
    - thermal: `image_size`
    - imu: `channels`, `length` (steps), `kernel`; a recording is cut into `clips` (1)
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        trunk: Literal["vision", "audio", "text", "depth", "thermal", "imu"] = "vision",
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
        channels: int | None = None,
        clips: int | None = None,
        clip_seconds: float | None = None,
        crops: int | None = None,
        first_channel: bool | None = None,
        tokenizer: str | None = None,
        focal: float | None = None,
        baseline: float | None = None,
    ):
        super().__init__()
        if output not in ("global", "patches"):
            raise ValueError(f"output: {output!r} is not one of global, patches")
        given: dict[str, Any] = {"dim": dim, "depth": depth, "heads": heads, "out_dim": out_dim, "mlp_ratio": mlp_ratio}
        given |= {"kernel": kernel, "stride": stride, "image_size": image_size, "frames": frames}
        given |= {"mels": mels, "length": length, "vocab": vocab, "context": context, "channels": channels}
        given |= {"clips": clips, "clip_seconds": clip_seconds, "crops": crops, "first_channel": first_channel}
        given |= {"tokenizer": tokenizer, "focal": focal, "baseline": baseline}
        given = {name: value for name, value in given.items() if value is not None}
        sizes = sizes_of(trunk, given, options=True)
        self.trunk, self.output, self.scaled, self.dim = trunk, output, scaled, sizes.out_dim
        self.modality_preprocessors = nn.ModuleDict()
        self.modality_trunks = nn.ModuleDict()
        self.modality_heads = nn.ModuleDict()
        self.modality_postprocessors = nn.ModuleDict()
        attach(_mappings(self), trunk, sizes)
        self.transform: Callable[[Any], dict[str, Tensor]] = _transform(
            sizes, {name: given[name] for name in sizes.options if name in given}
        )
        if path is not None:
            load(self, path, whole=_prefixes([trunk]))

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode the transform's stacked tensor: pixels, mel, readings or ids."""
        (x,) = inputs.values()
        if self.output == "global":
            return Tokens.full(embed(_mappings(self), self.trunk, x, scaled=self.scaled)[:, None])
        values = embed(_mappings(self), self.trunk, x, scaled=self.scaled, patches=True)
        if self.trunk != "text":
            return Tokens.full(values)
        return Tokens(values, torch.arange(x.shape[1], device=x.device) <= x.argmax(-1, keepdim=True))


def _mappings(model: ImageBind | ImageBindEncoder) -> list[nn.ModuleDict]:
    return [model.get_submodule(name) for name in MAPPINGS]  # type: ignore[misc]


def _prefixes(trunks: Iterable[str]) -> list[str]:
    """What the published file's keys of these trunks begin with."""
    return [f"{mapping}.{trunk}." for trunk in trunks for mapping in MAPPINGS]


def _transform(sizes: Sizes, options: Mapping[str, Any]) -> Callable[[Any], dict[str, Tensor]]:
    """The transform that makes a trunk's input, told what its own `options` name."""
    for name in ("clips", "clip_seconds", "focal", "baseline"):
        if options.get(name, 1) <= 0:
            raise ValueError(f"{name}: {options[name]!r} given; it is more than 0")
    if options.get("crops", 3) not in (1, 3):
        told = "it is 1 (the centre) or 3 (both ends of the longer side too)"
        raise ValueError(f"crops: {options['crops']!r} given; {told}")
    match sizes:
        case AudioSizes():
            return AudioTransform(mels=sizes.mels, length=sizes.length, **options)
        case TextSizes():
            return TextTransform(context=sizes.context, vocab=sizes.vocab, **options)
        case DepthSizes():
            return DepthTransform(sizes.image_size, **options)
        case ThermalSizes():
            return ThermalTransform(sizes.image_size, **options)
        case ImuSizes():
            return ImuTransform(sizes.channels, sizes.length, **options)
    return VisionTransform(sizes.image_size, sizes.frames, **options)
