"""Pictures to normalised pixels with PIL and torch alone: what the transforms of vision encoders share.

Letters: c channels, t frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as PILImage
from torch import Tensor

from anyx.media import Image, Video

Fit = Literal["crop", "pad", "stretch"]
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


def stretched(picture: PILImage.Image, size: int) -> PILImage.Image:
    """Both sides to `size` with PIL's bicubic filter, whatever their proportion: nothing is cut off."""
    return picture if picture.size == (size, size) else picture.resize((size, size), PILImage.Resampling.BICUBIC)


def pixels_of(picture: PILImage.Image) -> UInt8[Tensor, "3 h w"]:
    """The bytes of an RGB picture, channels first."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def resize_and_crop(picture: PILImage.Image, size: int) -> UInt8[Tensor, "3 h w"]:
    """The pixels of the centre square."""
    return pixels_of(square(picture, size))


def padded(picture: PILImage.Image, colour: tuple[int, int, int]) -> PILImage.Image:
    """The picture in the middle of a square of its longer side."""
    width, height = picture.size
    side = max(width, height)
    if width == height:
        return picture
    canvas = PILImage.new("RGB", (side, side), colour)
    canvas.paste(picture, ((side - width) // 2, (side - height) // 2))
    return canvas


def normalise(pixels: Float[Tensor, "c *t h w"], mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Subtract the mean and divide by the deviation of each channel, the first dimension."""
    shape = (-1, *[1] * (pixels.ndim - 1))
    return (pixels - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


@dataclass(frozen=True)
class PictureTransform:
    """An Image to pixels (3, size, size), a Video to pixels (frames, 3, size, size) of evenly taken frames.

    `fit` says what becomes of one that is no square: `crop` keeps its middle, `pad` lays it on the mean colour (LLaVA),
    `stretch` keeps all of it, out of proportion (BLIP-2). With `bgr` red and blue change places before they are
    normalised: so OpenCV reads a file, and weights that learnt from such pictures want them (LLaMA-Adapter V2).
    """

    size: int
    frames: int
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD
    fit: Fit = "crop"
    bgr: bool = False

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The pixels of an Image or a Video."""
        if isinstance(media, Image):
            return {"pixels": self.picture(media)}
        if isinstance(media, Video):
            return {"pixels": torch.stack([self.picture(Image(x)) for x in media.sample(self.frames).frames])}
        raise ValueError(f"this encoder reads Image or Video, given {type(media).__name__}")

    def picture(self, image: Image) -> Float[Tensor, "3 h w"]:
        """One picture, made a square and normalised."""
        picture = image.to_pil()
        if self.fit == "pad":
            red, green, blue = (int(255 * share) for share in (self.mean[::-1] if self.bgr else self.mean))
            picture = padded(picture, (red, green, blue))
        fitted = (stretched if self.fit == "stretch" else square)(picture, self.size)
        pixels = pixels_of(fitted).flip(0) if self.bgr else pixels_of(fitted)
        return normalise(pixels / 255, self.mean, self.std)
