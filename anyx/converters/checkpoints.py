"""Published files of weights, read without running anything in them, and written as they were.

A `.pt` or `.pth` is a pickle: it is opened by PyTorch's weights-only reader, which builds tensors and containers and
refuses everything else, and mapped into memory where its form allows. What comes out is a flat mapping of tensors.
"""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

NAMES = ("pytorch_model.pt", "pytorch_model.bin", "model.safetensors")  # what a folder's file may be called
PREFIX = "module."  # DistributedDataParallel and DeepSpeed put it before every name


def read(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a file, or of the one file of weights in a folder, on the CPU, in their own types.

    `module.` before every name is taken away. ValueError for what is no file, no weights, or more than weights.
    """
    file = locate(path)
    found = _tensors(file) if file.suffix == ".safetensors" else _unpickled(file)
    if not isinstance(found, Mapping):
        raise ValueError(f"{file} holds a {type(found).__name__}; it should map names to tensors")
    if strange := [str(name) for name, tensor in found.items() if not isinstance(tensor, Tensor)]:
        raise ValueError(f"{file} holds more than tensors: {', '.join(strange[:8])}")
    return unwrapped({str(name): tensor.detach() for name, tensor in found.items()})


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


def _tensors(file: Path) -> Any:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except pickle.UnpicklingError as error:
        said = "it would run code, or is no file of PyTorch's; nothing in it was run"
        raise ValueError(f"{file} holds more than weights: {said}") from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from error
