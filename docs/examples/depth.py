"""An encoder of depth maps: 16-bit pictures whose levels are distances."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from anyx import Encoder, Image, Tokens
from anyx.faults import MediaError
from anyx.interfaces import Media, TextBatch


def metres(media: Media, *, size: int, unit: float) -> dict[str, Tensor]:
    """`metres` (size, size), from the median of what the camera saw; 0 is where it saw nothing."""
    if not isinstance(media, Image) or media.grey is None or media.grey.is_floating_point():
        raise MediaError("a depth map is a picture of one channel of 16 bits, such as a 16-bit PNG")
    levels = functional.interpolate(media.grey[None, None].float(), size=(size, size), mode="nearest")[0, 0]
    seen = levels > 0
    if not seen.any():
        raise MediaError("a depth map with no reading in it")
    return {"metres": torch.where(seen, levels - levels[seen].median(), 0) * unit}


class Depth(Encoder):
    """Patches of a depth map as tokens, with learned positions. `unit` is what one level is, in metres."""

    def __init__(self, *, dim: int = 64, size: int = 32, patch: int = 8, unit: float = 0.001) -> None:
        super().__init__()
        self.dim, self.patch = dim, patch
        self.transform = partial(metres, size=size, unit=unit)
        self.map = nn.Sequential(nn.Linear(patch * patch, dim), nn.GELU(), nn.Linear(dim, dim))
        self.positions = nn.Parameter(torch.randn((size // patch) ** 2, dim))

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """`metres` (b, size, size) as tokens (b, (size / patch)^2, dim)."""
        patches = functional.unfold(inputs["metres"][:, None], self.patch, stride=self.patch).mT
        return Tokens.full(self.map(patches * 10) + self.positions)  # 10: what matters in a room is centimetres
