"""From pictures, videos and sound to ImageBind's inputs as published, without torchvision or pytorchvideo.

Each transform is a picklable value that turns one item into a named tensor: pictures -> pixels (3, h, w), videos ->
pixels (views, 3, frames, h, w), sound -> mel (clips, 1, mels, length). Text, depth, heat and motion have files of
their own.

Letters: c channels, h height, w width, t frames, n samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from anyx.media import Audio, Image, Video

from .pictures import CLIP_MEAN, CLIP_STD, normalise, resize_and_crop


def clip_starts(seconds: float, clip_seconds: float, clips: int) -> list[float]:
    """Start times of evenly laid clips; the last clip ends before the end (published: i * slack / clips)."""
    slack = max(seconds - clip_seconds, 0.0)
    return [i * slack / clips for i in range(clips)]


@dataclass(frozen=True)
class VisionTransform:
    """Pictures to one view, videos to `clips` x `crops` views of `frames` frames."""

    size: int = 224
    frames: int = 2
    clips: int = 5
    crops: int = 3
    clip_seconds: float = 2.0
    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """Pixels of an Image or a Video."""
        if isinstance(media, Image):
            pixels = resize_and_crop(media.to_pil(), self.size)
            return {"pixels": normalise(pixels / 255, self.mean, self.std)}
        if isinstance(media, Video):
            return {"pixels": self.views(media)}
        raise ValueError(f"the vision trunk reads Image or Video, given {type(media).__name__}")

    def views(self, video: Video) -> Float[Tensor, "views 3 t h w"]:
        """Clip after clip; of each clip the crops along the longer side."""
        total = len(video.frames)
        views = []
        for start in clip_starts(video.seconds, self.clip_seconds, self.clips):
            first = math.ceil(video.fps * start)
            last = max(min(math.ceil(video.fps * (start + self.clip_seconds)), total) - 1, first)
            index = torch.linspace(first, last, self.frames).clamp(0, total - 1).long()
            clip = normalise(self.scale(video.frames[index] / 255).transpose(0, 1), self.mean, self.std)
            views.extend(self.crop(clip))
        return torch.stack(views)

    def scale(self, frames: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 h1 w1"]:
        """Shorter side to `size`, bilinear without antialiasing (published)."""
        height, width = frames.shape[-2:]
        short = min(height, width)
        sides = [self.size if side == short else math.floor(side / short * self.size) for side in (height, width)]
        if sides == [height, width]:
            return frames
        return F.interpolate(frames, size=sides, mode="bilinear", align_corners=False)

    def crop(self, clip: Float[Tensor, "3 t h w"]) -> list[Float[Tensor, "3 t size size"]]:
        """One crop: the centre. Three: also both ends of the longer side."""
        height, width = clip.shape[-2:]
        slack = (height - self.size, width - self.size)
        crops = []
        for place in (0, 1, 2) if self.crops == 3 else (1,):
            top, left = ((0, math.ceil(side / 2), side)[place] if side == max(slack) else side // 2 for side in slack)
            crops.append(clip[..., top : top + self.size, left : left + self.size])
        return crops


@dataclass(frozen=True)
class AudioTransform:
    """Sound to `clips` Kaldi filter banks of a fixed length.

    All channels are heard, as their mean; the published code hears the first alone, as `first_channel` does.
    """

    rate: int = 16000
    mels: int = 128
    length: int = 204
    clips: int = 3
    clip_seconds: float = 2.0
    mean: float = -4.268
    std: float = 9.138
    first_channel: bool = False

    def __call__(self, media: Any) -> dict[str, Tensor]:
        """The mel bins of an Audio."""
        if not isinstance(media, Audio):
            raise ValueError(f"the audio trunk reads Audio, given {type(media).__name__}")
        wave = (media if self.first_channel else media.mono()).resample(self.rate).samples.clone()
        seconds = wave.shape[1] / self.rate
        mels = []
        for start in clip_starts(seconds, self.clip_seconds, self.clips):
            clip = wave[:, int(start * self.rate) : int((start + self.clip_seconds) * self.rate)]
            clip -= clip.mean()  # in place: a clip that overlaps the one before sees its subtraction (published)
            mels.append(self.filter_bank(clip[:1]))
        return {"mel": torch.stack(mels)}

    def filter_bank(self, wave: Float[Tensor, "1 n"]) -> Float[Tensor, "1 mels length"]:
        """Log-mel bins, cut or padded, then normalised."""
        from torchaudio.compliance.kaldi import fbank

        window = self.rate * 25 // 1000
        bank = fbank(
            F.pad(wave, (0, max(window - wave.shape[1], 0))),
            htk_compat=True,
            sample_frequency=self.rate,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=self.mels,
            dither=0.0,
            frame_length=25,
            frame_shift=10,
        ).T[:, : self.length]
        bank = F.pad(bank, (0, self.length - bank.shape[1]))
        return (bank[None] - self.mean) / self.std
