"""What a decoder reads: the named tensors of a condition, checked, and handed to a pipeline.

The names are the keywords of diffusers' pipeline (`prompt_embeds`, `pooled_prompt_embeds`, ...), each with its negative
`negative_<name>`. A `Field` says what else a pipeline wants of one: a plain vector, a mask under a keyword of its own.

Letters: b items, l condition length, d condition width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from anyx.interfaces import Condition

NAME = "prompt_embeds"


class Field(NamedTuple):
    """How a pipeline takes one tensor (b, l, d): `vector`: as (b, d), for l = 1; `mask`: its mask's keyword, if any.

    `negative` False: the pipeline is given none, and guides away from a null condition of its own.
    """

    vector: bool = False
    mask: str | None = None
    negative: bool = True


def read_condition(condition: Condition, shapes: Mapping[str, tuple[int, int]], like: Tensor) -> Condition:
    """The tensors of `shapes`, each held against its (l, d), in the dtype and on the device of `like`.

    Every one gets a mask, all True where the condition has none.
    """
    values, masks = {}, {}
    for name, shape in shapes.items():
        if name not in condition.values:
            raise ValueError(f"the condition has {', '.join(condition.values)}, but the decoder reads {name}")
        value = condition.values[name]
        if tuple(value.shape[1:]) != tuple(shape):
            raise ValueError(
                f"condition {name} is {tuple(value.shape)}, but the decoder reads (b, {shape[0]}, {shape[1]})"
            )
        mask = condition.masks.get(name)
        if mask is not None and mask.shape != value.shape[:2]:
            raise ValueError(f"condition {name} is {tuple(value.shape)}, but its mask is {tuple(mask.shape)}")
        values[name] = value.to(device=like.device, dtype=like.dtype)
        full = torch.ones(value.shape[:2], dtype=torch.bool, device=like.device)
        masks[name] = full if mask is None else mask.to(device=like.device, dtype=torch.bool)
    return Condition(values, masks)


def check_generators(generators: Sequence[Generator], items: int) -> list[Generator]:
    """One generator an item."""
    if len(generators) != items:
        raise ValueError(f"received {len(generators)} generators for {items} conditions; each item has exactly one")
    return list(generators)


def items(condition: Condition) -> int:
    """How many items a condition is of."""
    return len(next(iter(condition.values.values())))


def keywords(fields: Mapping[str, Field], condition: Condition, null: Condition) -> dict[str, Tensor]:
    """What a pipeline is called with: every tensor and mask, and from the null condition the negatives it takes."""
    call: dict[str, Tensor] = {}
    for name, field in fields.items():
        for prefix, part in (("", condition), ("negative_", null))[: 2 if field.negative else 1]:
            value = part.values[name].expand_as(condition.values[name])
            call[prefix + name] = value[:, 0] if field.vector else value
            if field.mask is not None:
                call[prefix + field.mask] = _mask(part, name, condition)
    return call


def _mask(part: Condition, name: str, like: Condition) -> Bool[Tensor, "b l"]:
    return part.masks[name].expand_as(like.masks[name])
