"""Pictures to normalised pixels with PIL and torch alone: what the transforms of vision encoders share.

Letters: c channels, t frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as PILImage
from torch import Tensor

from anyx.media import Image, Video

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def square(picture: PILImage.Image, size: int) -> PILImage.Image:
    """Shorter side to `size` with PIL's bicubic filter, then the centre square."""
    width, height = picture.size
    if (width, height) == (size, size):
        return picture
    short = min(width, height)
    width, height = (size if side == short else int(size * side / short) for side in (width, height))
    picture = picture.resize((width, height), PILImage.Resampling.BICUBIC)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return picture.crop((left, top, left + size, top + size))


def resize_and_crop(picture: PILImage.Image, size: int) -> UInt8[Tensor, "3 h w"]:
    """The pixels of the centre square."""
    return torch.from_numpy(np.array(square(picture, size))).permute(2, 0, 1)


def normalise(pixels: Float[Tensor, "c *t h w"], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel, the first dimension."""
    shape = (-1, *[1] * (pixels.ndim - 1))
    return (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


@dataclass(frozen=True)
class PictureTransform:
    """An Image to pixels (3, size, size), a Video to pixels (frames, 3, size, size) of evenly taken frames."""

    size: int
    frames: int
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The pixels of an Image or a Video."""
        if isinstance(media, Image):
            return {"pixels": self.picture(media)}
        if isinstance(media, Video):
            return {"pixels": torch.stack([self.picture(Image(x)) for x in media.sample(self.frames).frames])}
        raise ValueError(f"this encoder reads Image or Video, given {type(media).__name__}")

    def picture(self, image: Image) -> Float[Tensor, "3 h w"]:
        """One picture, resized, cropped and normalised."""
        return normalise(resize_and_crop(image.to_pil(), self.size) / 255, self.mean, self.std)
