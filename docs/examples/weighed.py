"""An output projector: a weighted mean of the LLM's states at the signal tokens, mapped to the decoder's condition."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from anyx import Condition, OutputProjector, Tokens


class Weighed(OutputProjector):
    """For every tensor that the decoder reads, one query weighs the states, and one linear map gives its rows."""

    def __init__(self, dim_in: int, condition: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        self.sizes = dict(condition)
        self.weights = nn.ModuleDict({name: nn.Linear(dim_in, 1) for name in condition})
        self.maps = nn.ModuleDict({name: nn.Linear(dim_in, n * dim) for name, (n, dim) in condition.items()})

    def forward(self, states: Tokens, embeddings: Tensor | None = None) -> Condition:
        """Carry states (b, s, dim_in) to name -> (b, length, dim). `embeddings` of the signal tokens are not read."""
        values = {}
        for name, size in self.sizes.items():
            scores = self.weights[name](states.values).masked_fill(~states.mask[..., None], -1e9)
            mean = (scores.softmax(dim=1) * states.values).sum(dim=1)
            values[name] = self.maps[name](mean).unflatten(-1, size)
        return Condition.full(values)
