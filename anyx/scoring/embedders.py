"""Embedders: media -> features, by which Frechet and kernel distances and similarities compare what was made.

What measures is part of every figure: the `name` says which it is, in which version, and after `#` a digest of its
weights. `Handcrafted` and `RandomConv` need no weights that were learned: they tell distributions apart, and their
figures compare with each other alone. CLIP from a local folder is in `anyx.scoring.clip`. To add one: a class with
`name`, `dim` and `__call__`, handed in.

Letters: n media, d features of each, t frames, h height, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from anyx.digests import bytes_of, digest
from anyx.media import Audio, Image, Video
from anyx.scoring.features import Features, Floats, rows
from anyx.scoring.spectra import BANDS, log_mel

Medium = Image | Audio | Video | str
SIDE = 64  # pixels to which pictures are brought before they are convolved
BINS = 8  # of a histogram


class Embedder(Protocol):
    """`name` says what it is, with a digest of its weights; it makes `dim` features of each medium."""

    name: str
    dim: int

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d) of n media; a ValueError for a kind that it does not take."""


def embed(media: Sequence[Medium], embedder: Embedder) -> Features:
    """The features of media, and whose they are."""
    return Features(rows(embedder(media)), embedder.name)


def taken(medium: Medium, name: str) -> Image | Audio | Video:
    """A medium that is no text; a ValueError where it is."""
    if isinstance(medium, Image | Audio | Video):
        return medium
    raise ValueError(f"{name} takes pictures, sounds and clips, but {type(medium).__name__} was given")


class Handcrafted:
    """Plain statistics: of pictures colours and edges, of sounds log-mel bands, of clips frames and their differences.

    A picture has a histogram of each channel, one of the directions of edges (weighed by their strength), the mean
    strength and the deviation of each channel. A sound has mean and deviation of each band. A clip has the mean of its
    frames, and of the differences of successive frames their mean, deviation and most, a channel. Features of unlike
    kinds are filled up with zeros to one width.
    """

    name = "handcrafted@1"
    dim = max(4 * BINS + 4 + 9, 2 * BANDS)

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d)."""
        found = np.zeros((len(media), self.dim))
        for row, medium in enumerate(media):
            values = self._of(taken(medium, self.name))
            found[row, : len(values)] = values
        return found

    def _of(self, medium: Image | Audio | Video) -> Floats:
        if isinstance(medium, Image):
            return looks(medium.numpy() / 255)
        if isinstance(medium, Audio):
            bands = log_mel(medium)
            return np.concatenate([bands.mean(0), bands.std(0)])
        frames = medium.frames.permute(0, 2, 3, 1).double().numpy() / 255
        moved = np.abs(np.diff(frames, axis=0)) if len(frames) > 1 else np.zeros((1, *frames.shape[1:]))
        change = [moved.mean((0, 1, 2)), moved.std((0, 1, 2)), moved.max((0, 1, 2))]
        return np.concatenate([np.mean([looks(frame) for frame in frames], axis=0), *change])


def looks(pixels: Floats) -> Floats:
    """Colours and edges of a picture (h, w, 3) in [0, 1]."""
    size = pixels.shape[0] * pixels.shape[1]
    colours = [np.histogram(pixels[..., channel], BINS, (0, 1))[0] / size for channel in range(3)]
    grey = np.pad(pixels.mean(2), 1, mode="edge")
    down, across = (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2, (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2
    strength = np.hypot(down, across)
    turns = np.histogram(np.arctan2(down, across) % np.pi, BINS, (0, np.pi), weights=strength)[0] / size
    return np.concatenate([*colours, turns, [strength.mean()], pixels.std((0, 1))])


class RandomConv:
    """Three convolutions with seeded random weights: mean and deviation of each channel after each.

    Pictures are brought to 64 x 64 pixels, sounds are read as pictures of their log-mel bands (which are scaled, not
    resized), of clips features of frames are averaged. Beside them stand those of what changes from frame to frame,
    which are zeros where nothing does.
    """

    def __init__(self, seed: int = 0) -> None:
        dice = torch.Generator().manual_seed(seed)
        shapes = [(16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3)]
        self.weights = [torch.randn(shape, generator=dice) * (2 / (shape[1] * 9)) ** 0.5 for shape in shapes]
        self.name = f"random-conv@1 seed {seed}#{digest(*map(bytes_of, self.weights))[:12]}"
        self.dim = 4 * sum(shape[0] for shape in shapes)

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features (n, d)."""
        found = [self._of(taken(medium, self.name)).double().numpy() for medium in media]
        return np.stack(found) if found else np.zeros((0, self.dim))

    def _of(self, medium: Image | Audio | Video) -> Tensor:
        if isinstance(medium, Audio):
            bands = torch.from_numpy(log_mel(medium)).float() / 10
            pictures = bands.T.expand(1, 3, -1, -1)
        else:
            frames = medium.pixels[None] if isinstance(medium, Image) else medium.frames
            pictures = functional.interpolate(frames.float() / 127.5 - 1, (SIDE, SIDE), mode="bilinear", antialias=True)
        changes = pictures.diff(dim=0) if len(pictures) > 1 else torch.zeros_like(pictures)
        return torch.cat([self._layers(pictures).mean(0), self._layers(changes).mean(0)])

    def _layers(self, pictures: Tensor) -> Tensor:
        """Means and deviations of every channel: (t, 3, h, w) -> (t, d / 2)."""
        found = []
        for weight in self.weights:
            pictures = functional.relu(functional.conv2d(pictures, weight, stride=2, padding=1))
            found += [pictures.mean((2, 3)), pictures.std((2, 3), correction=0)]
        return torch.cat(found, dim=1)
