"""Position plans: the tokens within a medium share one position of the LLM's rotation (CogVLM, arXiv 2311.03079).

Letters: b rows, s positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from anyx.adapters.body import Body
from anyx.interfaces import Adapter, Layout, Placed, Reading
from anyx.layers import offsets


class SharedPositions(Adapter):
    """All tokens of a medium stand at one position, but the first `begin` and the last `end`, which have their own.

    CogVLM's opening vector stands at p, the whole image at p + 1, the closing vector at p + 2 (`begin: 1`, `end: 1`).
    """

    def __init__(self, body: Body, name: str, *, begin: int = 0, end: int = 0) -> None:
        super().__init__()
        if begin < 0 or end < 0:
            raise ValueError(f"begin: {begin}, end: {end} given; they are 0 or more")
        config = body.model.config
        if not body.family.placed or config.to_dict().get("alibi"):  # a Falcon may have either
            raise ValueError(f"{config.model_type} counts distances itself (ALiBi): its positions cannot be shared")
        self.name, self.dim, self.begin, self.end = name, body.dim, begin, end

    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """How far each position lags behind a plain count."""
        stays = torch.zeros_like(layout.mask)
        for rows, starts, tokens, _ in media:
            item, offset, count = offsets(tokens.mask)
            inside = (offset > self.begin) & (offset < count[item] - self.end)
            stays[rows[item[inside]], (starts[item] + offset)[inside]] = True
        return Reading(lag=stays.cumsum(1))
