"""Integrate-and-fire as a walk over frames: what `anyx/integrate.py` is held against in tests and in benchmarks.

Letters: b items, t frames, u tokens, d width.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def walk(
    values: Float[Tensor, "b t d"],
    weights: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    *,
    threshold: float = 1.0,
    tail: float | None = 0.5,
    published: bool = False,
) -> tuple[Float[Tensor, "b u d"], Bool[Tensor, "b u"]]:
    """All items side by side, frame after frame; `published` as in `integrate_and_fire`.

    Rows are tensors of a batch, as one would write it in torch: a state and its sum a row, a token where one is full.
    """
    rows, frames, dim = values.shape
    state, total = values.new_zeros(rows, dim), values.new_zeros(rows)
    made: list[list[Tensor]] = [[] for _ in range(rows)]
    lengths = mask.sum(1).tolist()
    for t in range(frames):
        frame, weight = values[:, t], weights[:, t] * mask[:, t]
        lacking, full = 1 - total, (total + weight >= threshold) & mask[:, t]
        token = state + lacking[:, None] * frame
        for row in full.nonzero().flatten().tolist():
            made[row].append(token[row])
        total = torch.where(full, weight - lacking, total + weight)
        state = torch.where(full[:, None], total[:, None] * frame, state + weight[:, None] * frame)
        for row in [] if published else range(rows):
            while total[row] >= threshold and mask[row, t]:  # a frame heavy enough for several tokens
                made[row].append(frame[row])
                total = torch.where(torch.arange(rows) == row, total - 1, total)
                state = torch.where((torch.arange(rows) == row)[:, None], total[:, None] * frame, state)
        for row in range(rows):
            ends = t + 1 == lengths[row] and not (published and lengths[row] == frames)
            if tail is not None and ends and (total[row] > tail or (not published and not made[row])):
                made[row].append(state[row] / (total[row] + 1e-10))
    longest = max(map(len, made))
    blank = values.new_zeros(dim)
    tokens = torch.stack([torch.stack([*row, *[blank] * (longest - len(row))]) for row in made])
    return tokens, torch.tensor([[u < len(row) for u in range(longest)] for row in made])
