"""Seeded changes of pictures and speech: what training draws, and what the tests draw under other seeds.

`augment` and `plain_clip` are the hooks that a YAML's `data:` names. All of it is tensor arithmetic on whole batches,
uint8 in and out for pictures.

Letters: b pictures, h height, w width, n samples.
"""

from __future__ import annotations

import hashlib
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from anyx.media import Audio, Image, Video

RATE = 16000  # Hz
CLIP = 8  # frames of a clip
TRAIN_FRAMES = 9  # frames 0 to 8 of 12 may be learnt from
GREY = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
N_FFT, HOP = 512, 128


def augment(key: str, media: Image | Audio | Video, generator: torch.Generator) -> Image | Audio | Video:
    """A training copy of a corpus file: cropped, recoloured, noised, restyled; the training frames of an animation."""
    if isinstance(media, Image):
        if media.grey is not None:
            raise ValueError(f"{key}: a picture of deep grey was given, but only 8-bit colours are changed here")
        return Image(restyled(pictures(media.pixels[None], generator), generator)[0])
    if isinstance(media, Audio):
        samples = media.mono().resample(RATE).samples[0]
        return Audio(speech(samples, generator)[None], RATE)
    clip = train_clip(media, generator)
    return Video(restyled(clip.frames, generator), clip.fps)


def train_clip(video: Video, generator: torch.Generator) -> Video:
    """Eight frames of the first nine, at a seeded phase and speed, all cropped and coloured alike."""
    phase, speed = torch.rand(2, generator=generator).tolist()
    places = (phase + (0.6 + 0.4 * speed) * torch.arange(CLIP)).round().long().clamp(max=TRAIN_FRAMES - 1)
    frames = video.frames[places.clamp(max=len(video.frames) - 1)]
    return Video(pictures(frames, generator, together=True), video.fps)


def plain_clip(key: str, media: Image | Audio | Video, generator: torch.Generator) -> Image | Audio | Video:
    """Eight successive frames of the first nine, unchanged, for the motion of the video decoder; other media as is."""
    if not isinstance(media, Video):
        return media
    start = int(torch.randint(TRAIN_FRAMES - CLIP + 1, (), generator=generator))
    return Video(media.frames[start : start + CLIP], media.fps)


def seed_of(*parts: object) -> int:
    """A seed that the parts decide."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "little")


def between(low: float, high: float, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(size, generator=generator)


def warp(pixels: Tensor, zoom: Tensor, shift: Tensor, turn: Tensor) -> Tensor:
    """Zoom (b,), shift (b, 2) in half-sizes and turn (b,) in radians; what comes into view is white."""
    cos, sin = turn.cos() / zoom, turn.sin() / zoom
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    return 1 + functional.grid_sample(pixels - 1, grid, align_corners=False, padding_mode="zeros")


def pictures(pixels: Tensor, generator: torch.Generator, *, together: bool = False) -> Tensor:
    """Zoom, shift, turn, recolour and noise (b, 3, h, w) uint8; `together`: all alike, as the frames of a clip.

    Never mirrored: "first quarter moon" and "last quarter moon" are each other's mirror image.
    """
    rows = 1 if together else len(pixels)

    def draw(low: float, high: float, *size: int) -> Tensor:
        return between(low, high, (rows, *size), generator).expand(len(pixels), *size)

    x = warp(pixels.float() / 255, draw(0.8, 1.15), draw(-0.12, 0.12, 2), draw(-0.15, 0.15))
    x = x * draw(0.85, 1.12, 1, 1, 1)  # brightness
    x = 0.5 + (x - 0.5) * draw(0.8, 1.15, 1, 1, 1)  # contrast
    grey = (x * GREY).sum(1, keepdim=True)
    x = grey + (x - grey) * draw(0.6, 1.3, 1, 1, 1)  # saturation
    x = x * draw(0.92, 1.08, 3, 1, 1)  # tint
    x = x + draw(0, 0.04, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def restyled(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures (b, 3, h, w) uint8 as another hand might have drawn them, all alike: for learning only.

    Each of these on its own throw: colours mixed, grey, few levels (flat shading), blur, another gamma.
    """
    mixed, grey, flat, soft, gamma = (
        torch.rand(5, generator=generator) < torch.tensor([0.6, 0.1, 0.3, 0.25, 0.6])
    ).tolist()
    x = pixels.float() / 255
    if mixed:
        mix = torch.eye(3) + 0.12 * torch.randn(3, 3, generator=generator)
        x = torch.einsum("ij,bjhw->bihw", mix / mix.sum(1, keepdim=True), x).clamp(0, 1)
    if grey:
        x = (x * GREY).sum(1, keepdim=True).expand(-1, 3, -1, -1)
    if gamma:
        x = x ** float(between(0.65, 1.5, (1,), generator))
    if flat:
        levels = int(torch.randint(2, 7, (), generator=generator))
        x = (x * levels).round() / levels
    if soft:
        x = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return (x * 255).round().to(torch.uint8)


def pan(pixels: Tensor, frames: int, generator: torch.Generator) -> Tensor:
    """A still (3, h, w) seen by a camera that pans and zooms evenly: (frames, 3, h, w)."""
    time = torch.linspace(0, 1, frames)
    start, end = between(0.85, 1.2, (2,), generator)
    here, there = between(-0.15, 0.15, (2, 2), generator)
    x = pixels.float()[None].expand(frames, -1, -1, -1) / 255
    x = warp(x, start + (end - start) * time, here + (there - here) * time[:, None], torch.zeros(frames))
    return (x.clamp(0, 1) * 255).round().to(torch.uint8)


def speech(samples: Tensor, generator: torch.Generator) -> Tensor:
    """Stretch, shift the pitch, set the level, lay in noise and silence around: (n,) -> (m,)."""
    tempo, pitch, level, noise, before, after = torch.rand(6, generator=generator).tolist()
    factor = 0.94 + 0.12 * pitch
    x = resampled(stretched(samples, (0.87 + 0.26 * tempo) / factor), factor)
    x = functional.pad(x, (int(3200 * before), int(3200 * after)))
    x = x / x.abs().max().clamp_min(1e-4) * (0.35 + 0.6 * level)
    sigma = x.square().mean().sqrt() * 10 ** (-(18 + 25 * noise) / 20)
    return (x + sigma * torch.randn(x.shape, generator=generator)).clamp(-1, 1)


def stretched(samples: Tensor, rate: float) -> Tensor:
    """Play `rate` times faster at the same pitch (phase vocoder)."""
    from torchaudio.functional import phase_vocoder

    window, advance = _window()
    spectrum = torch.stft(samples, N_FFT, HOP, window=window, return_complex=True)
    faster = phase_vocoder(spectrum, rate, advance)
    return torch.istft(faster, N_FFT, HOP, window=window, length=round(len(samples) / rate))


def resampled(samples: Tensor, factor: float) -> Tensor:
    """Play `factor` times faster, pitch and all."""
    size = max(2, round(len(samples) / factor))
    return functional.interpolate(samples[None, None], size=size, mode="linear", align_corners=True)[0, 0]


@cache
def _window() -> tuple[Tensor, Tensor]:
    return torch.hann_window(N_FFT), torch.linspace(0, torch.pi * HOP, N_FFT // 2 + 1)[:, None]
