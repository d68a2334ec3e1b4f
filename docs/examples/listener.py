"""An encoder of notes: each note is a token."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from midi import Notes
from torch import Tensor, nn

from anyx import Encoder, Tokens
from anyx.faults import MediaError
from anyx.interfaces import Media, TextBatch

MOST = 512  # notes that are heard


def steps(media: Media) -> dict[str, Tensor]:
    """`notes` (n, 5): pitch, half tones and seconds from the note before, seconds of sound, velocity 0 to 1."""
    if not isinstance(media, Notes):
        raise MediaError(f"a listener hears Notes, but {type(media).__name__} was given")
    pitch, velocity, start, length = media.notes[:MOST].unbind(1)
    since = [torch.diff(x, prepend=x[:1]) for x in (pitch, start)]
    return {"notes": torch.stack([pitch, *since, length, velocity / 127], dim=1)}


class Listener(Encoder):
    """The sum of a vector for the pitch and a map of the rest, one token a note."""

    def __init__(self, *, dim: int = 64) -> None:
        super().__init__()
        self.dim, self.transform = dim, steps
        self.pitch, self.rest = nn.Embedding(128, dim), nn.Linear(4, dim)

    def forward(self, inputs: Mapping[str, Tensor], text: TextBatch | None = None) -> Tokens:
        """`notes` (b, n, 5), and where lengths differ `notes_mask` (b, n), as tokens (b, n, dim)."""
        notes = inputs["notes"]
        tokens = Tokens.full(self.pitch(notes[..., 0].long()) + self.rest(notes[..., 1:]))
        return tokens._replace(mask=inputs["notes_mask"], whole=False) if "notes_mask" in inputs else tokens
