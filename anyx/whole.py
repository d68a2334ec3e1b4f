"""Whole parts of a model in a file of their own: parameters by the model's own names, and statistics beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import Parameter

from anyx.compact import FINE, restored, shrunk
from anyx.durable import save_tensors

Parts = Mapping[str, Sequence[Parameter]]


def tensors(model: nn.Module, parts: Parts, names: Sequence[str]) -> dict[str, Tensor]:
    """The parameters of some parts, and what modules that are theirs alone keep beside them, such as running means."""
    wanted = {id(parameter) for name in names for parameter in parts[name]}
    found: dict[str, Tensor] = {name: one for name, one in model.named_parameters() if id(one) in wanted}
    stored = model.state_dict(keep_vars=True)
    for prefix, module in model.named_modules():
        own = list(module.parameters())
        if own and all(id(parameter) in wanted for parameter in own):
            buffers = (f"{prefix}.{name}".lstrip(".") for name, _ in module.named_buffers())
            found |= {name: stored[name] for name in buffers if name in stored}
    return found


def save(found: Mapping[str, Tensor], names: Sequence[str], file: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the tensors of the parts of these names; `dtype` stores numbers that are no counts in another type.

    With `torch.int8` matrices take a byte a weight (`anyx.compact`). One note beside the tensors, so that equal parts
    are equal files: safetensors writes several in any order.
    """
    kept = {name: x.detach().cpu() for name, x in found.items()}
    if dtype == torch.int8:
        kept = shrunk(kept, levels=FINE)
    elif dtype is not None:
        kept = {name: x.to(dtype) if x.is_floating_point() else x for name, x in kept.items()}
    save_tensors({name: x.contiguous() for name, x in kept.items()}, file, {"parts": " ".join(names)})


def put(model: nn.Module, parts: Parts, file: Path) -> tuple[str, ...]:
    """Lay the parts that a file holds over what they were built from, and name them; ValueError where they differ."""
    try:
        with safe_open(file, framework="pt") as stored:
            names = tuple(stored.metadata()["parts"].split())
        found = restored(load_file(file))
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    into = tensors(model, parts, [name for name in names if name in parts])
    here, there = ({name: tuple(x.shape) for name, x in state.items()} for state in (found, into))
    if wrong := sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name)):
        raise ValueError(f"{file} does not fit the model: {len(wrong)} tensors differ ({', '.join(wrong[:3])}, ...)")
    with torch.no_grad():
        for name, tensor in into.items():
            tensor.copy_(found[name])
    return names
