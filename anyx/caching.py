"""What an LLM has read of a batch, kept between the steps of a reply.

Letters: b rows, t cached positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache

from anyx.context import Context


@dataclass
class Cache:
    """What the body has read: its keys and values, the mask (b, t) of real positions among them, adapters' context."""

    past: DynamicCache
    mask: Bool[Tensor, "b t"]
    context: Context | None = None

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
