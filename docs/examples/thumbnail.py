"""An encoder: a picture as one token, its pixels at a small size."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from anyx import Encoder, Image, Tokens
from anyx.faults import MediaError
from anyx.interfaces import Media, TextBatch


def shrink(media: Media, *, size: int) -> dict[str, Tensor]:
    """What a data worker does with one picture: `pixels` (3, size, size) from 0 to 1."""
    if not isinstance(media, Image):
        raise MediaError(f"a thumbnail is made of an Image, but {type(media).__name__} was given")
    return {"pixels": media.resize(size, size).pixels / 255}


class Thumbnail(Encoder):
    """One token a picture: its pixels at `size` by `size`, scaled by a number that may learn."""

    def __init__(self, *, size: int = 8) -> None:
        super().__init__()
        self.dim = 3 * size * size
        self.transform = partial(shrink, size=size)  # no method: it travels to data workers, without weights
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """`pixels` (b, 3, size, size) as tokens (b, 1, dim)."""
        return Tokens.full(inputs["pixels"].flatten(1)[:, None] * self.scale)
