"""Two components that anyx finds by entry points: a picture as its edges, and signal states as their mean.

`encoders: {eye: {type: sketch, size: 8}}` and `outputs: {image: {projector: {type: mean}, ...}}` use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor, nn

from anyx import Encoder, Image, Tokens
from anyx.interfaces import Condition, Media, OutputProjector, TextBatch

__all__ = ["MeanOutputProjector", "SketchEncoder"]


def edges(media: Media, *, size: int) -> dict[str, Tensor]:
    """How much a picture of (size + 1, size + 1) changes to the right and downwards: (size, 2 * size)."""
    if not isinstance(media, Image):
        raise ValueError(f"a sketch encoder reads Image, given {type(media).__name__}")
    grey = media.resize(size + 1, size + 1).pixels.float().mean(0) / 255
    return {"edges": torch.cat([grey[:-1, 1:] - grey[:-1, :-1], grey[1:, :-1] - grey[:-1, :-1]], 1)}


class SketchEncoder(Encoder):
    """Tokens (b, size, width), one a row of edges."""

    def __init__(self, *, size: int = 8, width: int = 16) -> None:
        super().__init__()
        self.dim = width
        self.transform = partial(edges, size=size)
        self.map = nn.Linear(2 * size, width)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """Encode edges (b, size, 2 * size)."""
        return Tokens.full(self.map(inputs["edges"]))


class MeanOutputProjector(OutputProjector):
    """The mean of the states at a signal group, linearly, as whatever the decoder reads."""

    def __init__(self, dim_in: int, condition: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.shapes = dict(condition)
        self.maps = nn.ModuleDict({name: nn.Linear(dim_in, length * dim) for name, (length, dim) in condition.items()})

    def forward(self, states: Tokens, embeddings: Tensor | None = None) -> Condition:
        """Carry (b, s, dim_in) to a condition without padding."""
        mean = states.values.mean(1)
        return Condition.full({name: self.maps[name](mean).unflatten(-1, self.shapes[name]) for name in self.shapes})
