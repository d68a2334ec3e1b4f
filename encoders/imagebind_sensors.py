"""Depth, heat and motion to ImageBind's inputs. The published code reads none of them: below, what is known, what not.

A depth map is an Image whose deep grey (16 bits) holds millimetres, 0 where nothing was measured; it becomes disparity
in pixels, `focal` * `baseline` / depth, as a share of 75 pixels, less a mean over a deviation. An Image of 8-bit or
float grey holds that share itself, as depth estimators give it.

- Confirmed: the formula, depth cut to 0.01 to 50 m, each camera's own focal length, 0.075 m for both Kinects and
  0.095 m for RealSense and Xtion (an author, github.com/facebookresearch/omnivore, issue 12); 75, 0.0418 and 0.0295
  (Omnivore's demo, and ViT-Lens after it); 518.86 pixels (NYU Depth v2's colour camera).
- Not confirmed: that ImageBind was trained on just this (its issues 107 and 134 report 10 % less on NYU and the paper's
  figure on SUN RGB-D), the bicubic filter, and that what was not measured is far: Omnivore's cut would make it near.
- Doubtful: the unit. SUN RGB-D's files hold millimetres turned left by 3 bits, 8 times as much (ViT-Lens, issue 12);
  the author's formula reads them as they are, and a mean of 0.0418 is 12.4 m, a room's 1.6 m so read. Issue 134 turns
  them back. `focal=64.86`, an eighth, makes of true millimetres what the untouched files would be.

A thermal picture is one channel in [0, 1], not normalised (so in ImageBind's issue 37, which finds texts by it);
no author has said so. Motion is a Series of accelerometer and gyroscope, x y z each, 2000 steps in 5 s (2305.05665);
the order of the six channels and their units are not published.

Letters: h height, w width, c channels, s steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image as PILImage
from torch import Tensor
from torch.nn import functional as F

from anyx.media import Image, Series

from .imagebind_transforms import clip_starts
from .pictures import square

FOCAL, BASELINE = 518.86, 0.075  # of the first Kinect, as NYU Depth v2 has it; other cameras have others
NEAR, FAR = 0.01, 50.0  # metres that depth is cut to
LARGEST = 75.0  # pixels of disparity


def levels(picture: Image) -> Float[Tensor, "h w"]:
    """Grey in [0, 1], as deep as the picture has it."""
    if picture.grey is None:
        return torch.from_numpy(np.array(picture.to_pil().convert("L"))) / 255
    return picture.grey if picture.grey.is_floating_point() else picture.grey / 65535


def cropped(grey: Float[Tensor, "h w"], size: int) -> Float[Tensor, "size size"]:
    """The centre square in [0, 1]; the bicubic filter's overshoot is cut off."""
    return torch.from_numpy(np.array(square(PILImage.fromarray(grey.numpy()), size))).clamp(0, 1)


@dataclass(frozen=True)
class DepthTransform:
    """Depth maps to pixels (1, size, size) of normalised disparity."""

    size: int = 224
    focal: float = FOCAL
    baseline: float = BASELINE
    mean: float = 0.0418
    std: float = 0.0295

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The disparity of an Image."""
        if not isinstance(media, Image):
            raise ValueError(f"the depth trunk reads Image, given {type(media).__name__}")
        return {"pixels": (cropped(self.disparity(media), self.size)[None] - self.mean) / self.std}

    def disparity(self, picture: Image) -> Float[Tensor, "h w"]:
        """Shares of the largest disparity."""
        if picture.grey is None or picture.grey.is_floating_point():
            return levels(picture)
        metres = (picture.grey / 1000).clamp(NEAR, FAR)
        seen = (self.focal * self.baseline / metres / LARGEST).clamp(max=1)
        return torch.where(picture.grey > 0, seen, 0.0)


@dataclass(frozen=True)
class ThermalTransform:
    """Thermal pictures to pixels (1, size, size) in [0, 1]."""

    size: int = 224

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The grey of an Image."""
        if not isinstance(media, Image):
            raise ValueError(f"the thermal trunk reads Image, given {type(media).__name__}")
        if media.grey is not None:
            return {"pixels": cropped(levels(media), self.size)[None]}
        grey = square(media.to_pil().convert("L"), self.size)  # in 8 bits, as published
        return {"pixels": torch.from_numpy(np.array(grey))[None] / 255}


@dataclass(frozen=True)
class ImuTransform:
    """Motion to readings (clips, channels, length), the windows laid evenly, zero after a short recording's end."""

    channels: int = 6
    length: int = 2000
    clips: int = 1
    seconds: float = 5.0  # of a window: a Series of known rate is resampled to it

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The windows of a Series."""
        if not isinstance(media, Series):
            raise ValueError(f"the imu trunk reads Series, given {type(media).__name__}")
        if len(media.values) != self.channels:
            raise ValueError(f"the imu trunk reads {self.channels} channels, given {len(media.values)}")
        values, rate = media.values, self.length / self.seconds
        if media.rate is not None and media.rate != rate:
            steps = max(round(values.shape[1] * rate / media.rate), 1)
            values = F.interpolate(values[None], size=steps, mode="linear", align_corners=False)[0]
        starts = [int(start) for start in clip_starts(values.shape[1], self.length, self.clips)]
        windows = [values[:, start : start + self.length] for start in starts]
        return {"readings": torch.stack([F.pad(x, (0, self.length - x.shape[1])) for x in windows])}
