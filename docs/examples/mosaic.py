"""A decoder: a condition becomes a picture of a few large tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from anyx import Condition, Decoder, Image


class Mosaic(Decoder):
    """A picture of `tiles` by `tiles` colours, `size` pixels wide; `noise` is how much a seed changes them."""

    def __init__(self, *, dim: int = 32, tiles: int = 4, size: int = 32, noise: float = 0.05) -> None:
        super().__init__()
        self.condition = {"colours": (1, dim)}
        self.tiles, self.size, self.noise = tiles, size, noise
        self.net = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 3 * tiles * tiles))

    def null_condition(self) -> Condition:
        """Zeros: there is no caption that could be empty."""
        one = next(self.parameters())
        return Condition.full({"colours": one.new_zeros(1, *self.condition["colours"])})

    def levels(self, condition: Condition) -> Tensor:
        """Colours (b, 3, tiles, tiles) before they are cut to 0 and 1."""
        levels: Tensor = self.net(condition.values["colours"][:, 0])
        return levels.reshape(-1, 3, self.tiles, self.tiles)

    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[torch.Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Image]:
        """One picture an item. It is made in one step; `guidance` leads away from what the null condition gives."""
        levels, weight = self.levels(condition), 1.0 if guidance is None else guidance
        levels = torch.lerp(self.levels(self.null_condition()), levels, weight)
        noise = [torch.randn(levels.shape[1:], generator=one, device=one.device) for one in generators]
        levels = (levels + self.noise * torch.stack(noise).to(levels)).clamp(0, 1)
        pixels = functional.interpolate(levels, size=self.size).mul(255).round().to(torch.uint8).detach().cpu()
        if progress is not None:
            progress(1, 1)
        return [Image(one) for one in pixels]

    def loss(self, condition: Condition, media: Sequence[Image]) -> Tensor:
        """Mean squared distance to the media's own tiles."""
        wanted = torch.stack([one.resize(self.tiles, self.tiles).pixels for one in media])
        return functional.mse_loss(levels := self.levels(condition), wanted.to(levels) / 255)
