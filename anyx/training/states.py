"""States at signal groups, computed once: in a stage where only output projectors learn, nothing before them changes.

A row is known by its ids and by the cached encoder tokens of its media; its states are kept in memory up to a bound,
and from the second time on the LLM does not run for it. It never runs for rows without groups. Rows whose media
are encoded afresh, and what is past the bound, run each time.

Letters: b rows, s positions, m groups of a key, t tokens of a group, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from safetensors.torch import load_file
from torch import Tensor

from anyx import durable
from anyx.data.digests import digest
from anyx.data.memory import Memory
from anyx.interfaces import TextBatch
from anyx.model import AnyX, Output
from anyx.processor import Batch, MediaBatch, TargetBatch
from anyx.schema import Pack
from anyx.splice import following

BOUND = 1 << 30  # bytes
TOKENS = 1024  # of a pass of the LLM, pads included: rows of like length, few enough to stay near the processor
Row = dict[str, Float[Tensor, "m t d"]]  # the states of one row's groups, in their order


class SignalStates:
    """Stands for `model(batch)` where a loss reads conditions only."""

    def __init__(self, model: AnyX, bound: int = BOUND, *, pack: Pack = "auto") -> None:
        self.model, self.pack = model, pack
        self.rows: Memory[Row] = Memory(bound)
        self.unsaved: list[str] = []  # names of rows that no file holds

    def __call__(self, batch: Batch) -> Output:
        """Conditions with gradients from the projectors on; no logits."""
        names = names_of(batch)
        wanted = sorted({row for target in batch.targets.values() for row in target.rows.tolist()})
        new = [row for row in wanted if names[row] not in self.rows]
        fresh: dict[int, Row] = {}
        for some in passes(batch.mask, new):
            fresh |= zip(some, self.compute(chosen(batch, some)), strict=True)
        found = [fresh[row] if row in fresh else self.rows[names[row]] for row in wanted]
        for row in new:
            if names[row] and self.rows.keep(names[row], fresh[row]):
                self.unsaved.append(names[row])
        conditions = {}
        for key in batch.targets:
            conditions[key] = self.model.condition(key, torch.cat([row[key] for row in found if key in row]))
        device = self.model.device
        return Output(torch.zeros(0, 0, device=device), torch.zeros(0, dtype=torch.long, device=device), conditions, {})

    def save(self, file: Path) -> None:
        """Write the rows that were kept since the last call, in their order; no file where there are none.

        What a row's states are depends, in the last bits, on the rows it was computed with: a run that goes on has to
        know those that it knew.
        """
        if not self.unsaved:
            return
        rows = [self.rows[name] for name in self.unsaved]
        tensors = {"names": torch.tensor([list(bytes.fromhex(name)) for name in self.unsaved], dtype=torch.uint8)}
        for key in sorted(set().union(*rows)):
            empty = next(row[key] for row in rows if key in row)[:0].cpu()
            states = [row[key].cpu() if key in row else empty for row in rows]
            tensors |= {f"states.{key}": torch.cat(states), f"counts.{key}": torch.tensor([len(x) for x in states])}
        durable.save_tensors(tensors, file)
        self.unsaved = []

    def load(self, file: Path, device: torch.device) -> None:
        """Know the rows of a file, after those of the files before it."""
        tensors = load_file(file)
        rows: list[Row] = [{} for _ in tensors["names"]]
        for key in (name.removeprefix("states.") for name in tensors if name.startswith("states.")):
            parts = torch.split(tensors[f"states.{key}"].to(device), tensors[f"counts.{key}"].tolist())
            for row, states in zip(rows, parts, strict=True):
                row |= {key: states.clone()} if len(states) else {}
        for name, row in zip(tensors["names"], rows, strict=True):
            self.rows.keep(bytes(name.tolist()).hex(), row)

    @torch.no_grad()
    def compute(self, batch: Batch) -> list[Row]:
        """Run the LLM; the states of every row's groups."""
        spliced, _ = self.model.read(batch)
        states = self.model.llm.states(spliced.embeddings, spliced.mask, None, spliced.context, pack=self.pack)
        found: list[Row] = [{} for _ in batch.ids]
        for key, target in batch.targets.items():
            assert bool((target.rows.diff() >= 0).all()), "targets stand in the order of their rows"
            n = self.model.outputs[key].tokens
            groups = following(states, spliced.index, target.rows, target.positions, n).float()
            owners = target.rows.tolist()
            for row in sorted(set(owners)):
                found[row][key] = groups[owners.index(row) : len(owners) - owners[::-1].index(row)]
        return found


def names_of(batch: Batch) -> list[str]:
    """A digest of what each row consists of; nothing where it has media that come without cached tokens."""
    parts: list[list[bytes | str]]
    parts = [[ids[mask].cpu().numpy().tobytes()] for ids, mask in zip(batch.ids, batch.mask, strict=True)]
    nameless: set[int] = set()
    for key, media in batch.inputs.items():
        for item, (row, position) in enumerate(zip(media.rows.tolist(), media.positions.tolist(), strict=True)):
            if media.tokens is None:
                nameless.add(row)
                continue
            tokens = media.tokens.values[item][media.tokens.mask[item]].contiguous().cpu()
            parts[row] += [f"{key} at {position}", tokens.view(torch.uint8).numpy().tobytes()]
    return ["" if row in nameless else digest(*part) for row, part in enumerate(parts)]


def passes(mask: Bool[Tensor, "b s"], rows: Sequence[int]) -> Iterator[list[int]]:
    """Rows in groups of like length, of `TOKENS` positions or one row; those of a group in their order."""
    lengths = mask.sum(1).tolist()
    group: list[int] = []
    for row in sorted(rows, key=lambda row: lengths[row]):
        if group and (len(group) + 1) * lengths[row] > TOKENS:
            yield sorted(group)
            group = []
        group.append(row)
    if group:
        yield sorted(group)


def chosen(batch: Batch, rows: list[int]) -> Batch:
    """Some rows of a batch (padded on the right), as long as the longest of them."""
    place = {row: i for i, row in enumerate(rows)}

    def kept(owners: Tensor) -> tuple[list[int], Tensor]:
        items = [i for i, row in enumerate(owners.tolist()) if row in place]
        return items, torch.tensor([place[int(owners[i])] for i in items], dtype=torch.long, device=owners.device)

    inputs: dict[str, MediaBatch] = {}
    for key, media in batch.inputs.items():
        items, owners = kept(media.rows)
        if items:
            tensors = {name: tensor[items] for name, tensor in media.tensors.items()}
            tokens = media.tokens and media.tokens.chosen(items)
            text = media.text and TextBatch(media.text.ids[items], media.text.mask[items])
            inputs[key] = MediaBatch(owners, media.positions[items], tensors, tokens, text)
    targets: dict[str, TargetBatch] = {}
    for key, target in batch.targets.items():
        items, owners = kept(target.rows)
        if items:
            targets[key] = TargetBatch(owners, target.positions[items], [], [])
    width = int(batch.mask[rows].sum(1).max())
    ids, mask, labels = (x[rows, :width] for x in (batch.ids, batch.mask, batch.labels))
    return Batch(ids, mask, labels, inputs, targets)
