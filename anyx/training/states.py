"""States at signal groups, computed once: in a stage where only output projectors learn, nothing before them changes.

A row of plain text is known by its ids; its states are kept in memory up to a bound, and from the second time on the
LLM does not run for it. Rows with media, and what is past the bound, run each time.

Letters: b rows, s positions, m groups of a key, t tokens of a group, d width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from anyx.model import AnyX, Output
from anyx.processor import Batch, TargetBatch

BOUND = 1 << 30  # bytes
Row = dict[str, Float[Tensor, "m t d"]]  # the states of one row's groups, in their order


class SignalStates:
    """Stands for `model(batch)` where a loss reads conditions only."""

    def __init__(self, model: AnyX, bound: int = BOUND) -> None:
        self.model, self.bound, self.bytes = model, bound, 0
        self.rows: dict[tuple[int, ...], Row] = {}

    def __call__(self, batch: Batch) -> Output:
        """Conditions with gradients from the projectors on; no logits."""
        names = [tuple(ids[mask].tolist()) for ids, mask in zip(batch.ids, batch.mask, strict=True)]
        if batch.inputs:
            found = self.compute(batch)
        else:
            new = [row for row, name in enumerate(names) if name not in self.rows]
            fresh = dict(zip(new, self.compute(chosen(batch, new)), strict=True)) if new else {}
            found = [fresh[row] if row in fresh else self.rows[name] for row, name in enumerate(names)]
            for row in new:
                self.keep(names[row], fresh[row])
        conditions = {}
        for key in batch.targets:
            conditions[key] = self.model.condition(key, torch.cat([row[key] for row in found if key in row]))
        device = batch.ids.device
        return Output(torch.zeros(0, 0, device=device), torch.zeros(0, dtype=torch.long, device=device), conditions, {})

    @torch.no_grad()
    def compute(self, batch: Batch) -> list[Row]:
        """Run the LLM; the states of every row's groups."""
        spliced, _ = self.model.read(batch)
        states = self.model.llm.states(spliced.embeddings, spliced.mask)
        found: list[Row] = [{} for _ in batch.ids]
        for key, target in batch.targets.items():
            assert bool((target.rows.diff() >= 0).all()), "targets stand in the order of their rows"
            start = spliced.index[target.rows, target.positions]
            columns = start[:, None] + torch.arange(self.model.outputs[key].tokens, device=start.device)
            groups = states[target.rows[:, None], columns].float()
            for row in sorted(set(target.rows.tolist())):
                found[row][key] = groups[target.rows == row]
        return found

    def keep(self, name: tuple[int, ...], row: Row) -> None:
        """Remember a row while there is room."""
        size = sum(states.nbytes for states in row.values())
        if self.bytes + size <= self.bound:
            self.rows[name] = row
            self.bytes += size


def chosen(batch: Batch, rows: list[int]) -> Batch:
    """Some rows of a batch without media."""
    place = {row: i for i, row in enumerate(rows)}
    targets: dict[str, TargetBatch] = {}
    for key, target in batch.targets.items():
        kept = [i for i, row in enumerate(target.rows.tolist()) if row in place]
        if kept:
            owners = torch.tensor([place[int(target.rows[i])] for i in kept], device=batch.ids.device)
            targets[key] = TargetBatch(owners, target.positions[kept], [], [])
    return Batch(batch.ids[rows], batch.mask[rows], batch.labels[rows], {}, targets)
