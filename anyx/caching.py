"""What an LLM has read of a batch, kept between the steps of a reply.

Letters: b rows, t cached positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache
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
        chosen = torch.tensor(rows, device=self.mask.device)
        self.past.reorder_cache(chosen)
        self.mask = self.mask[chosen]
        self.context = self.context and self.context.chosen(chosen)

    def crop(self, length: int) -> bool:
        """Forget what stands after the first `length` positions; False, and nothing done, where layers cannot.

        Layers with a window let go of what is behind it, and recurrent ones of everything but their state.
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

        For bodies that count how many positions keys lie back and heed no position ids (MPT).
        """
        length = self.mask.shape[1]
        columns = (torch.arange(length, device=gaps.device) - gaps[:, None]) % length
        self.mask = self.mask.gather(1, columns)
        for layer in self.past.layers:
            keys, values = layer.keys, layer.values
            assert keys is not None
            assert values is not None
            layer.keys = keys.gather(2, columns[:, None, :, None].expand_as(keys))
            layer.values = values.gather(2, columns[:, None, :, None].expand_as(values))


def _croppable(layer: object) -> bool:
    if isinstance(layer, DynamicSlidingWindowLayer):
        return bool(layer.cumulative_length < layer.sliding_window)
    return type(layer) is DynamicLayer
