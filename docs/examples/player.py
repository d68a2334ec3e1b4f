"""A decoder: a condition becomes a short melody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from midi import Notes
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from anyx import Condition, Decoder

SILENT = 128  # the pitch of a place where no note is


class Player(Decoder):
    """Up to `notes` notes. Pitches are drawn with a `temperature`, 0 for the likeliest."""

    def __init__(self, *, dim: int = 64, notes: int = 8, temperature: float = 0.2) -> None:
        super().__init__()
        self.condition, self.temperature = {"melody": (1, dim)}, temperature
        hidden, out = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, notes * (SILENT + 3))
        self.net = nn.Sequential(hidden, nn.GELU(), out, nn.Unflatten(2, (notes, SILENT + 3)), nn.Flatten(1, 2))

    def null_condition(self) -> Condition:
        """Zeros: no caption is empty here."""
        return Condition.full({"melody": next(self.parameters()).new_zeros(1, *self.condition["melody"])})

    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[torch.Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Notes]:
        """One melody an item, in one step: scores of pitches, seconds since the note before, seconds of sound."""
        melodies = []
        for row, chance in zip(self.net(condition.values["melody"]).detach().cpu(), generators, strict=True):
            noise = torch.rand(row[:, :-2].shape, generator=chance, device=chance.device).cpu().log().neg().log()
            pitch = (row[:, :-2] - self.temperature * noise).argmax(1)  # Gumbel's noise: as softmax draws
            pitch[0] = row[0, :SILENT].argmax()  # so that there is one
            gaps, lengths = row[:, -2:].clamp(0.05, 10).unbind(1)
            columns = [pitch, torch.full_like(pitch, 80), gaps.cumsum(0) - gaps[0], lengths]
            melodies.append(Notes(torch.stack([x.float() for x in columns], dim=1)[pitch != SILENT]))
        return melodies

    def loss(self, condition: Condition, media: Sequence[Notes]) -> Tensor:
        """Cross-entropy of pitches and squared distance of times, of the first notes of each."""
        told = self.net(condition.values["melody"])
        wanted = torch.tensor([SILENT, 0.0, 0.0]).repeat(*told.shape[:2], 1)
        for row, one in zip(wanted, media, strict=True):
            pitch, _, start, length = one.notes[: len(row)].unbind(1)
            row[: len(pitch)] = torch.stack([pitch, start.diff(prepend=start[:1]), length], dim=1)
        pitch, times = wanted[..., 0].long().to(told.device), wanted[..., 1:].to(told.device)
        real = pitch != SILENT
        return cross_entropy(told[..., :-2].mT, pitch) + mse_loss(told[..., -2:][real], times[real])
