"""Tensors that one file holds whole and another in pieces, or in another order, and tables that a file need not hold.

`cut` and `joined` are each other's way back over a whole state, `by_kind` and `by_head` over one tensor. Tables that
follow from formulas (`unread.` in front of our name) are held against them and kept beside the weights as they came, so
that a file can be written again bit for bit: what the model runs with is the formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from anyx.config import Config
from anyx.converters import keys

State = Mapping[str, Tensor]
UNREAD = "unread."
QKV = "self_attn.qkv_proj.", ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj.")
LOOSE = 1e-4  # how far a table may lie from its formula, which published code computed in single precision


def cut(state: State, whole: str, parts: Sequence[str]) -> dict[str, Tensor]:
    """Every tensor with `whole` in its name as equal parts along its first dimension, `parts` in the names' place."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if whole in name:
            pieces = tensor.chunk(len(parts))
            found |= {name.replace(whole, part): x.clone() for part, x in zip(parts, pieces, strict=True)}
        else:
            found[name] = tensor
    return found


def joined(state: State, whole: str, parts: Sequence[str]) -> dict[str, Tensor]:
    """The way back of `cut`; where a part is not there, the others stay as they are and will be named."""
    found = dict(state)
    for name in state:
        names = [name.replace(parts[0], part) for part in parts]
        if parts[0] in name and all(each in found for each in names):
            found[name.replace(parts[0], whole)] = torch.cat([found.pop(each) for each in names])
    return found


def by_kind(fused: Tensor, heads: int) -> Tensor:
    """Rows of queries, keys and values, each of all heads, from rows of q, k and v of one head after another."""
    return fused.reshape(heads, 3, -1, *fused.shape[1:]).transpose(0, 1).reshape(fused.shape)


def by_head(fused: Tensor, heads: int) -> Tensor:
    """The way back of `by_kind`."""
    return fused.reshape(3, heads, -1, *fused.shape[1:]).transpose(0, 1).reshape(fused.shape)


def plain(system: str, state: State, tables: State, config: Config) -> dict[str, Tensor]:
    """The weights of a folder of a system that adds no tokens and answers in text alone; ValueError for another's."""
    if tables or config.outputs or (config.llm and config.llm.added_tokens):
        raise ValueError(f"{system} has no llm.tables, no llm.added_tokens and no outputs; this model has")
    return dict(state)


def require_heads(system: str, config: Config, heads: int) -> None:
    """ValueError where a model's encoder has other heads than the system's: its rows would be taken apart wrongly."""
    found = config.encoders["vision"].kwargs.get("heads") if "vision" in config.encoders else None
    if found != heads:
        raise ValueError(f"{system} has a tower of {heads} heads; this model's encoders.vision.heads is {found}")


def hold(name: str, table: Tensor, formula: Tensor) -> None:
    """A table of a file must be what the model computes in its place; ValueError where it is not."""
    if table.shape != formula.shape:
        told = f"{keys.size(table.shape)}, where the model computes {keys.size(formula.shape)}"
        raise ValueError(f"{name} is not the table that the model computes in its place: it is {told}")
    near = max(LOOSE, 2 * torch.finfo(table.dtype).eps)
    off = (table.double() - formula.double()).abs().max().item()
    if not off <= near:
        raise ValueError(f"{name} is not the table that the model computes in its place: off by {off:.2g}")
