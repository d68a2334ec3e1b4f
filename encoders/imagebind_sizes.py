"""The sizes of ImageBind's six trunks: those left out are of the published model (arXiv 2305.05665, `imagebind_huge`).

A trunk's sizes are a frozen dataclass, whose fields a user may set; what the published checkpoint fixes for a modality
(the name of its stem, whether its attention has a learned key, the factor of its embeddings) are class variables, and
so are `options`, the names of what its transform may be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar


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

    options: ClassVar[Sequence[str]] = ("clips", "clip_seconds", "crops")
    stem: ClassVar[str] = "rgbt_stem"
    pixels: ClassVar[int] = 3  # channels of the input
    steps: ClassVar[int] = 2  # the kernel's time where only its side is given
    bias_kv: ClassVar[bool] = False
    scale: ClassVar[float | None] = None

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

    options: ClassVar[Sequence[str]] = ("clips", "clip_seconds", "first_channel")
    stem: ClassVar[str] = "rgbt_stem"
    pixels: ClassVar[int] = 1
    steps: ClassVar[int] = 1
    bias_kv: ClassVar[bool] = True
    scale: ClassVar[float | None] = 20.0

    @property
    def extent(self) -> tuple[int, int, int]:
        """The input's time (none), height and width."""
        return 1, self.mels, self.length


@dataclass(frozen=True)
class DepthSizes:
    """Maps of disparity, one channel."""

    dim: int = 384
    depth: int = 12
    heads: int = 8
    out_dim: int = 1024
    mlp_ratio: int = 4
    image_size: int = 224
    kernel: int | Sequence[int] = 16
    stride: int | Sequence[int] | None = None

    options: ClassVar[Sequence[str]] = ("focal", "baseline")
    stem: ClassVar[str] = "depth_stem"
    pixels: ClassVar[int] = 1
    steps: ClassVar[int] = 1
    bias_kv: ClassVar[bool] = True
    scale: ClassVar[float | None] = 5.0

    @property
    def extent(self) -> tuple[int, int, int]:
        """The input's time (none), height and width."""
        return 1, self.image_size, self.image_size


@dataclass(frozen=True)
class ThermalSizes:
    """Pictures of infrared light, one channel."""

    dim: int = 768
    depth: int = 12
    heads: int = 12
    out_dim: int = 1024
    mlp_ratio: int = 4
    image_size: int = 224
    kernel: int | Sequence[int] = 16
    stride: int | Sequence[int] | None = None

    options: ClassVar[Sequence[str]] = ()
    stem: ClassVar[str] = "rgbt_stem"
    pixels: ClassVar[int] = 1
    steps: ClassVar[int] = 1
    bias_kv: ClassVar[bool] = True
    scale: ClassVar[float | None] = 10.0

    @property
    def extent(self) -> tuple[int, int, int]:
        """The input's time (none), height and width."""
        return 1, self.image_size, self.image_size


@dataclass(frozen=True)
class ImuSizes:
    """Readings of an inertial measurement unit: `channels` (three of acceleration, three of rotation) by `length`."""

    dim: int = 512
    depth: int = 6
    heads: int = 8
    out_dim: int = 1024
    mlp_ratio: int = 4
    channels: int = 6
    length: int = 2000
    kernel: int = 8

    options: ClassVar[Sequence[str]] = ("clips",)
    bias_kv: ClassVar[bool] = True
    scale: ClassVar[float | None] = 5.0


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

    options: ClassVar[Sequence[str]] = ("tokenizer",)
    bias_kv: ClassVar[bool] = False
    scale: ClassVar[float | None] = 1 / 0.07  # where training starts: it is learned


GridSizes = VisionSizes | AudioSizes | DepthSizes | ThermalSizes
Sizes = GridSizes | ImuSizes | TextSizes
SIZES: dict[str, type[Sizes]] = {
    "vision": VisionSizes,
    "audio": AudioSizes,
    "text": TextSizes,
    "depth": DepthSizes,
    "thermal": ThermalSizes,
    "imu": ImuSizes,
}


def sizes_of(trunk: str, given: Mapping[str, Any], *, options: bool = False) -> Sizes:
    """The sizes of a trunk: those given, the rest as published.

    Raises ValueError at names that the trunk has not; with `options`, those of its transform may be given beside.
    """
    if trunk not in SIZES:
        raise ValueError(f"trunk: {trunk!r} is not one of {', '.join(SIZES)}")
    cls = SIZES[trunk]
    sizes = [field.name for field in fields(cls)]
    known = [*sizes, *cls.options] if options else sizes
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"the {trunk} trunk has no {', '.join(unknown)}; it has {', '.join(known)}")
    return cls(**{name: given[name] for name in sizes if name in given})
