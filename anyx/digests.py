"""Digests of media, files and weights by their content: the name under which what was computed of them is found."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anyx.files import Piece, contents
from anyx.interfaces import Media


def digest(*parts: bytes | str | int) -> str:
    """A digest of a sequence of parts; their boundaries count."""
    state = hashlib.blake2b(digest_size=20)
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def media_digest(source: Any) -> str:
    """A digest of media: of a file's bytes, bytes, or the fields of a value."""
    if isinstance(source, bytes | Piece):  # as of a file that holds the same
        return hashlib.blake2b(contents(source), digest_size=20).hexdigest()
    if isinstance(source, str | Path):
        status = os.stat(source)
        return _file_digest(str(source), status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    if isinstance(source, Media):
        held = [getattr(source, one.name) for one in fields(source)]
        return digest(type(source).__name__, *map(_field, held))
    raise ValueError(f"media are a path, bytes or a value of anyx.media, but {type(source).__name__} was given")


def files_digest(folder: Path, files: Iterable[Path]) -> str:
    """A digest of files, by their paths in a folder and what they hold, in whatever order they are given."""
    state = hashlib.blake2b(digest_size=12)
    for file in sorted(files):
        state.update(file.relative_to(folder).as_posix().encode())
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()


def module_digest(module: nn.Module, *more: bytes | str | int) -> str:
    """A digest of a module's class and weights."""
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    return parameters_digest(module.state_dict().values(), name, *module.state_dict(), *more)


def parameters_digest(tensors: Iterable[Tensor], *more: bytes | str | int) -> str:
    """A digest of weights, of every one: about a second for a gigabyte."""
    found = (digest(str(x.dtype), str(tuple(x.shape)), bytes_of(x.detach().reshape(-1))) for x in tensors)
    return digest(*more, *found)


def _field(value: Any) -> bytes | str:
    if isinstance(value, Tensor):
        return bytes_of(value) + str(tuple(value.shape)).encode()
    return media_digest(value) if isinstance(value, Media) else str(value)


def bytes_of(tensor: Tensor) -> bytes:
    """The numbers of a tensor as they lie in memory."""
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


@lru_cache(maxsize=1 << 20)
def _file_digest(path: str, *stamp: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
