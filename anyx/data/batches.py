"""What a training step receives: a batch and, by key, the cached tensors that its losses need.

`Dialogues` hold the processor's `Batch`; `Pairs`, for stages without an LLM, hold media by key beside one caption.

Letters: m media items of one key, l ids of a caption.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from anyx.interfaces import Media
from anyx.processor import Batch
from anyx.splice import sent


class Cached(NamedTuple):
    """Cached tensors of some of the media of a key: `rows` (m,), on the host, says of which.

    `values` are stacked (m, ...).
    """

    rows: Int[Tensor, " m"]
    values: Mapping[str, Tensor]

    def to(self, device: torch.device | str) -> Cached:
        """The same on a device."""
        return Cached(self.rows, _to(self.values, device))


class Dialogues(NamedTuple):
    """A batch of conversations with what the losses need, by key.

    `teachers` and `latents` are of the batch's targets; `captions` are ids (m, l) of received media, -1 padded, and
    stay on the host.
    """

    batch: Batch
    teachers: Mapping[str, Cached]
    latents: Mapping[str, Cached]
    captions: Mapping[str, Int[Tensor, "m l"]]

    def to(self, device: torch.device | str) -> Dialogues:
        """The same on a device."""
        teachers, latents = ({key: x.to(device) for key, x in part.items()} for part in (self.teachers, self.latents))
        return Dialogues(self.batch.to(device), teachers, latents, self.captions)


class Pairs(NamedTuple):
    """Media by key: `rows` (m,) says whose, `tensors` are what an encoder reads; `captions` one a row.

    Media of which only the latents are wanted, and cached, are not read: None.
    """

    rows: Mapping[str, Int[Tensor, " m"]]
    tensors: Mapping[str, Mapping[str, Tensor]]
    media: Mapping[str, list[Media | None]]
    captions: list[str]
    teachers: Mapping[str, Cached]
    latents: Mapping[str, Cached]

    def to(self, device: torch.device | str) -> Pairs:
        """The same with its tensors on a device; media and rows stay where they are."""
        tensors = {key: _to(value, device) for key, value in self.tensors.items()}
        teachers, latents = ({key: x.to(device) for key, x in part.items()} for part in (self.teachers, self.latents))
        return Pairs(self.rows, tensors, self.media, self.captions, teachers, latents)


def _to(tensors: Mapping[str, Tensor], device: torch.device | str) -> dict[str, Tensor]:
    return {name: sent(x, device) for name, x in tensors.items()}
