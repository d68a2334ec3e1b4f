"""What an LLM has read of a batch, kept between the steps of a reply.

Letters: b rows, t cached positions, n new ones, h heads, f features of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from anyx.context import Context


@dataclass
class Cache:
    """What the body has read: its keys and values, the mask (b, t) of real positions among them, adapters' context."""

    past: DynamicCache
    mask: Bool[Tensor, "b t"]
    context: Context | None = None
    whole: bool = False  # known to be real everywhere, so that attention needs no mask of padding

    def keep(self, rows: Sequence[int]) -> None:
        """Forget all other rows."""
        chosen = torch.tensor(rows)
        self.past.reorder_cache(chosen)
        self.mask = self.mask[chosen.to(self.mask.device)]
        self.context = self.context and self.context.chosen(chosen)

    def crop(self, length: int) -> bool:
        """Forget what stands after the first `length` positions; False, and nothing done, where layers cannot.

        Layers of other kinds than those of this file let go of what they have read.
        """
        surplus = self.mask.shape[1] - length
        if surplus and not all(map(_croppable, self.past.layers)):
            return False
        if surplus:
            self.past.crop(-surplus)
            self.mask = self.mask[:, :length]
        return True

    def close(self, gaps: Int[Tensor, " b"]) -> None:
        """Move the last `gaps` positions of each row, which hold nothing, to its beginning.

        For bodies that count how many positions keys lie back and heed no position ids (MPT), and for windows.
        """
        length = self.mask.shape[1]
        columns = (torch.arange(length, device=gaps.device) - gaps[:, None]) % length
        self.mask = self.mask.gather(1, columns)
        for layer in self.past.layers:
            keys, values = layer.keys, layer.values
            assert keys is not None
            assert values is not None
            there = columns.to(keys.device)[:, None, :, None]
            layer.keys = keys.gather(2, there.expand_as(keys))
            layer.values = values.gather(2, there.expand_as(values))


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values with room to grow: a step writes its own, and copies none of those before it.

    Transformers' own layer is copied whole at every step, which costs more than the attention that reads it.
    """

    keys: Any
    values: Any

    def __init__(self) -> None:
        super().__init__()
        self.rooms: list[Tensor | None] = [None, None]

    def update(self, key_states: Tensor, value_states: Tensor, *others: Any, **given: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values (b, h, n, f); all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._appended(0, self.keys, key_states)
        self.values = self._appended(1, self.values, value_states)
        return self.keys, self.values

    def _appended(self, which: int, held: Tensor, new: Tensor) -> Tensor:
        room, past = self.rooms[which], held.shape[-2] if held.numel() else 0
        total = past + new.shape[-2]
        # Rows that were chosen or moved are tensors of their own; what was cropped is still the beginning of its room.
        if room is None or total > room.shape[-2] or (past and held.data_ptr() != room.data_ptr()):
            room = new.new_empty(*new.shape[:-2], total + max(total // 4, 64), new.shape[-1])
            room[..., :past, :] = held if past else room[..., :0, :]
            self.rooms[which] = room
        room[..., past:total, :] = new
        return room[..., :total, :]


class WindowedLayer(RoomyLayer):
    """A layer whose queries see a window, which its mask says: what is behind it stays, and can be gone back to.

    Transformers' own lets go of it. Rows of a batch that say more than others would lose what their gaps push out.
    """

    is_sliding = True


ROOMY = {DynamicLayer: RoomyLayer, DynamicSlidingWindowLayer: WindowedLayer}


def roomy(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache of a body; layers of other kinds than attention to all, or to a window, are transformers' own."""
    past = DynamicCache(config=config)
    past.layers = [ROOMY[type(layer)]() if type(layer) in ROOMY else layer for layer in past.layers]
    return past


def _croppable(layer: object) -> bool:
    return isinstance(layer, RoomyLayer) or type(layer) is DynamicLayer
