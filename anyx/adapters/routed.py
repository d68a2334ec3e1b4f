"""Routed modules: the positions of media go through weights of their own, inside the layers.

One mechanism for CogVLM's visual expert (arXiv 2311.03079: query, key, value, output and MLP of every layer) and
mPLUG-Owl2's modality-adaptive module (arXiv 2311.04257: key, value and both norms); `modules` names what is doubled.
The copies begin as the LLM's own modules, so that at first nothing changes. A module sees only the positions that are
its own: no product is computed twice, and each always runs, if over no positions.

Letters: b rows, s positions, i o widths of a module, p positions of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anyx.adapters.body import FRAME, Body, plant
from anyx.interfaces import Adapter, Layout, Placed, Reading
from anyx.layers import offsets


class Routed(Adapter):
    """A copy of each of `modules` in every layer, for the positions of media but the last `end` of each medium.

    A name is the end of a module's path in a layer (`q_proj`, `mlp.gate_proj`), of one that reads each position by
    itself: a linear map or a norm. CogVLM's closing vector is read as text: `end: 1`.
    """

    def __init__(self, body: Body, name: str, *, modules: Sequence[str], end: int = 0) -> None:
        super().__init__()
        if not modules or end < 0:
            raise ValueError(f"modules: {list(modules)} given, end: {end}; name at least one module, end is 0 or more")
        self.name, self.dim, self.end = name, body.dim, end
        self.layers = nn.Module()
        for index in range(len(body.layers)):
            for path, module in body.modules(list(modules), index).items():
                if inside := [child for child, _ in module.named_children()]:
                    raise ValueError(f"modules: {path} is made of others; name those of {', '.join(inside)} instead")
                body.claim(module, name, alone=True)
                copy = bare(module).float()
                plant(self.layers, f"{index}.{path}", copy)
                module.register_forward_pre_hook(partial(part, name))
                module.register_forward_hook(partial(join, name, copy), prepend=True)

    def read(self, layout: Layout, media: Sequence[Placed]) -> Reading:
        """Which positions are the copies'."""
        routed = torch.zeros_like(layout.mask)
        for rows, starts, tokens, _ in media:
            item, offset, count = offsets(tokens.mask)
            keep = offset < count[item] - self.end
            routed[rows[item[keep]], (starts[item] + offset)[keep]] = True
        return Reading(places={"routed": routed})


def bare(module: nn.Module) -> nn.Module:
    """A copy of a module without its hooks, that may learn."""
    copy = deepcopy(module)
    copy._forward_hooks.clear()
    copy._forward_pre_hooks.clear()
    return copy.requires_grad_(True)


def part(name: str, module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
    """Before a module: leave it the positions that are not its copy's."""
    frame = FRAME.get()
    if frame is None or "routed" not in frame.of(name):
        return None
    routed = frame.notes.setdefault((name, "flat"), frame.of(name)["routed"].flatten())
    flat = given[0].reshape(-1, given[0].shape[-1])
    frame.notes[name, id(module)] = flat, given[0].shape[:-1]
    return (flat[~routed], *given[1:])


def join(name: str, copy: nn.Module, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
    """After a module: what it made and what its copy makes of the other positions, each in their places."""
    frame = FRAME.get()
    if frame is None or "routed" not in frame.of(name):
        return None
    routed = frame.notes[name, "flat"]
    flat, shape = frame.notes.pop((name, id(module)))
    kind = next(copy.parameters()).dtype
    other: Float[Tensor, "p o"] = copy(flat[routed].to(kind)).to(output.dtype)
    whole = output.new_zeros(len(flat), output.shape[-1])
    whole = whole.index_put((~routed,), output).index_put((routed,), other)
    return whole.reshape(*shape, -1)
