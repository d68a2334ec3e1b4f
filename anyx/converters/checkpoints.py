"""Published checkpoints as flat mappings of tensors: found, read (`anyx/weights.py`), written as they were."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from anyx import weights

NAMES = ("pytorch_model.pt", "pytorch_model.bin", "model.safetensors")  # what a folder's file may be called
PREFIX = "module."  # DistributedDataParallel and DeepSpeed put it before every name


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, or of the one file of weights in a folder, on the CPU, in their own types.

    `module.` before every name is taken away. ValueError for what is no file, no weights, or more than weights.
    """
    _, found = weights.read(locate(path))
    return unwrapped(found)


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without `module.`, where every name begins with it."""
    wrapped = bool(state) and all(name.startswith(PREFIX) for name in state)
    return {name.removeprefix(PREFIX) if wrapped else name: tensor for name, tensor in state.items()}


def write(state: Mapping[str, Tensor], file: str | Path) -> Path:
    """Write tensors under a `.safetensors` name, or as PyTorch's own file; a reader never sees half of one."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    tensors = OrderedDict((name, tensor.detach().contiguous().clone()) for name, tensor in state.items())
    if file.suffix == ".safetensors":
        save_file(tensors, part, metadata={"format": "pt"})
    else:
        torch.save(tensors, part)
    os.replace(part, file)
    return file


def locate(path: str | Path) -> Path:
    """The file at a path; in a folder, the one that has a usual name."""
    place = Path(path)
    if place.is_dir():
        there = [place / name for name in NAMES if (place / name).is_file()]
        if len(there) != 1:
            raise ValueError(f"{place} has {len(there)} of {', '.join(NAMES)}; name the file itself")
        return there[0]
    if not place.is_file():
        raise ValueError(f"there is no checkpoint '{place}'")
    return place
