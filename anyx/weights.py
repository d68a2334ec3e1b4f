"""Published files of weights, read without running anything in them.

A `.pt`, `.pth` or `.bin` is a pickle: it is opened by PyTorch's weights-only reader, which builds tensors and
containers and refuses everything else, and mapped into memory where its form allows.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor


def read(file: Path, only: Collection[str] | None = None) -> tuple[list[str], dict[str, Tensor]]:
    """(every name in a file, its tensors), on the CPU, in their own types; with `only`, tensors of these names.

    Of what a training saved, "model" beside the states of its optimiser, the model is read. ValueError for a file that
    is broken, is no weights, or is more than weights.
    """
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt") as stored:
                names = list(stored.keys())
                return names, {n: stored.get_tensor(n) for n in names if only is None or n in only}
        except SafetensorError as error:
            raise ValueError(f"{file} cannot be read: {error}") from error
    found = _unpickled(file)
    if not isinstance(found, Mapping):
        raise ValueError(f"{file} holds a {type(found).__name__}; it should map names to tensors")
    found = found["model"] if isinstance(found.get("model"), Mapping) else found
    taken = {name: value for name, value in found.items() if only is None or name in only}
    if strange := [str(name) for name, value in taken.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{file} holds more than tensors: {', '.join(strange[:8])}")
    return [str(name) for name in found], {str(name): tensor.detach() for name, tensor in taken.items()}


def _unpickled(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zipfile(file))
    except pickle.UnpicklingError as error:
        said = "it would run code, or is no file of PyTorch's; nothing in it was run"
        raise ValueError(f"{file} holds more than weights: {said}") from error
    except (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from error
