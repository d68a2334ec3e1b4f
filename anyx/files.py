"""Between values and files: what media are read from and written to, and the one line that is said of a broken one.

`read` takes a path or bytes and turns whatever a parser raises into `MediaError`; `write` lets the suffix say the
format; `check` holds a tensor to its type and shape.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor

from anyx.codecs import MediaError

T = TypeVar("T")


def read(source: Any, parse: Callable[[BinaryIO], T]) -> T:
    """Parse a path or bytes; whatever a parser raises on bad files becomes one line of MediaError."""
    if not isinstance(source, str | Path | bytes):
        raise MediaError(f"media is read from a path, bytes or arrays, but {type(source).__name__} was given")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        return parse(io.BytesIO(source if isinstance(source, bytes) else Path(source).read_bytes()))
    except MemoryError:
        raise
    except Exception as error:  # decoders of third parties raise anything on corrupt files
        raise MediaError(f"cannot read {name}: {error}") from error


def write(path: str | Path, encode: Callable[[str], bytes]) -> Path:
    """Write what `encode` makes of the format that the path's suffix names, and give the path back."""
    path = Path(path)
    data = encode(path.suffix.removeprefix(".").lower())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def one_of(name: str, allowed: Iterable[str]) -> str:
    """The name, if it is one of those allowed."""
    if name not in allowed:
        raise ValueError(f"{name!r} is not one of {', '.join(allowed)}")
    return name


def check(tensor: Tensor, dtype: torch.dtype, shape: tuple[int | None, ...], name: str) -> None:
    """Hold the tensor called `name` to a type and a shape; a size of None may be any."""
    fits = tensor.ndim == len(shape) and all(w in (None, g) for g, w in zip(tensor.shape, shape, strict=True))
    if not fits or tensor.dtype != dtype:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise MediaError(f"{name} must be {dtype} ({wanted}), but {tensor.dtype} {tuple(tensor.shape)} was given")
