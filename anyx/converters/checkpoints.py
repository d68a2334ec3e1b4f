"""Published checkpoints as flat mappings of tensors: found, read (`anyx/weights.py`), written as they were.

A folder holds one file of weights; or several that an index lists; or LoRA's, with what else was trained beside it.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from anyx import weights

log = logging.getLogger(__name__)

NAMES = ("pytorch_model.pt", "pytorch_model.bin", "model.safetensors")  # what a folder's file may be called
INDICES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
ADAPTERS, BESIDE = ("adapter_model.safetensors", "adapter_model.bin"), "non_lora_trainables.bin"
SETTINGS = ("config.json", "adapter_config.json")
PREFIX = "module."  # DistributedDataParallel and DeepSpeed put it before every name


def read(path: str | Path, named: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a file, or of the files of weights in a folder, on the CPU, in their own types.

    In a folder that has any of the files `named`, these are read. `module.` before every name is taken away. ValueError
    for what is no file, no weights, or more than weights.
    """
    found: dict[str, Tensor] = {}
    for file in files(path, named):
        _, state = weights.read(file)
        if twice := sorted(found.keys() & state.keys()):
            raise ValueError(f"{path}: {twice[0]} is in two of its files")
        found |= state
    return unwrapped(found)


def files(path: str | Path, named: Collection[str] = ()) -> list[Path]:
    """The files of weights at a path."""
    place = Path(path)
    if there := [place / name for name in named if (place / name).is_file()]:
        held = sorted(file.name for end in {one.suffix for one in there} for file in place.glob(f"*{end}"))
        if left := [name for name in held if name not in named]:
            log.warning("%s: %s not read; of its files %s are", place, ", ".join(left), ", ".join(named))
        return there
    for index in (place / name for name in INDICES if (place / name).is_file()):
        listed = _mapping(index).get("weight_map")
        if not isinstance(listed, dict) or not listed or not all(isinstance(name, str) for name in listed.values()):
            raise ValueError(f"{index}: 'weight_map', names of tensors with their files, is needed")
        shards = [place / name for name in sorted(set(listed.values()))]
        if missing := [shard.name for shard in shards if not shard.is_file()]:
            raise ValueError(f"{index} lists files that are not there: {', '.join(missing[:8])}")
        return shards
    adapters = [place / name for name in ADAPTERS if (place / name).is_file()][:1]
    beside = [place / BESIDE] if adapters and (place / BESIDE).is_file() else []
    return [*adapters, *beside] or [locate(place, named)]


def settings(path: str | Path) -> dict[str, Any]:
    """What the JSON files of settings beside the weights say, those of an adapter last; nothing where none is."""
    place = Path(path)
    found: dict[str, Any] = {}
    for file in ((place if place.is_dir() else place.parent) / name for name in SETTINGS):
        if file.is_file():
            found |= _mapping(file)
    return found


def section(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A mapping within settings, empty where it is not said; ValueError for anything else."""
    found = told.get(name)
    if found is not None and not isinstance(found, Mapping):
        raise ValueError(f"{name}: {found!r} of the checkpoint's settings is no mapping")
    return found or {}


def number(told: Mapping[str, Any], name: str) -> Any:
    """A number above 0 among settings, None where it is not said; ValueError for anything else."""
    found = told.get(name)
    if found is not None and (type(found) not in (int, float) or not 0 < found < math.inf):
        raise ValueError(f"{name}: {found!r} of the checkpoint's settings is no number above 0")
    return found


def _mapping(file: Path) -> dict[str, Any]:
    """What a JSON file of settings holds."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{file}: a mapping is needed, but a {type(found).__name__} was found")
    return found


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


def locate(path: str | Path, named: Collection[str] = ()) -> Path:
    """The file at a path; in a folder, the one that has a usual name, or one of those `named`."""
    place = Path(path)
    if place.is_dir():
        known = (*named, *NAMES)
        there = [place / name for name in known if (place / name).is_file()]
        if len(there) != 1:
            raise ValueError(f"{place} has {len(there)} of {', '.join(known)}; name the file itself")
        return there[0]
    if not place.is_file():
        raise ValueError(f"there is no checkpoint '{place}'")
    return place
