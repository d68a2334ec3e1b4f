"""Digests: what media, captions, components and files are known by."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from anyx.data.shards import raw
from anyx.interfaces import Media


def digest(*parts: bytes | str | int) -> str:
    """A digest of a sequence of parts; their boundaries count."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def media_digest(source: Any) -> str:
    """A digest of media: of a file's bytes, bytes, or the tensors of an Image, Audio or Video."""
    if isinstance(source, bytes):
        return digest(source)
    if isinstance(source, str | Path):
        status = os.stat(source)
        return _file_digest(str(source), status.st_size, status.st_mtime_ns)
    if isinstance(source, Media):
        fields = [getattr(source, name) for name in source.__dataclass_fields__]
        return digest(type(source).__name__, *map(_field, fields))
    raise ValueError(f"media are a path, bytes or a value of anyx.media, but {type(source).__name__} was given")


def module_digest(module: nn.Module, *more: bytes | str | int) -> str:
    """A digest of a module's class and weights."""
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    return parameters_digest(module.state_dict().values(), name, *module.state_dict(), *more)


def parameters_digest(tensors: Iterable[Tensor], *more: bytes | str | int) -> str:
    """A digest of weights, of every one: about a second for a gigabyte."""
    found = (digest(str(x.dtype), str(tuple(x.shape)), raw(x.detach().reshape(-1))) for x in tensors)
    return digest(*more, *found)


def transform_digest(transform: Any) -> bytes:
    """What a transform is, with its settings (transforms are picklable and hold no weights)."""
    return pickle.dumps(transform)


def _field(value: Any) -> bytes | str:
    if isinstance(value, Tensor):
        return raw(value) + str(tuple(value.shape)).encode()
    return media_digest(value) if isinstance(value, Media) else str(value)


@lru_cache(maxsize=1 << 20)
def _file_digest(path: str, size: int, time: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
