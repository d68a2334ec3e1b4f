"""Between values and files: what media are read from and written to, and the one line that is said of a broken one.

`read` takes a path or bytes and turns whatever a parser raises into `MediaError`; `write` lets the suffix say the
format; `Member` and `Cell` stand for files that lie in others; `check` holds a tensor to its type and shape.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor

from anyx.faults import EmptyError, MediaError, TruncatedError, limits

T = TypeVar("T")
ADDRESS = re.compile(r" *'?<_io\.BytesIO object at 0x[0-9a-fA-F]+>'?")  # what parsers call bytes in memory


@dataclass(frozen=True)
class Member:
    """Bytes `offset` to `offset + size` of the file `path`: a file within a tar, which is read when it is wanted."""

    path: str
    offset: int
    size: int
    name: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.name}"

    def read(self) -> bytes:
        """The bytes; `TruncatedError` where the file ends before."""
        with open(self.path, "rb", buffering=0) as file:
            data = os.pread(file.fileno(), self.size, self.offset)
            while 0 < len(data) < self.size:  # one call gives 2 GiB at most
                more = os.pread(file.fileno(), self.size - len(data), self.offset + len(data))
                if not more:
                    break
                data += more
        if len(data) < self.size:
            raise TruncatedError(f"{self} is truncated: {len(data):,} bytes of {self.size:,}")
        return data


@dataclass(frozen=True, eq=False)
class Cell:
    """Bytes that lie in memory, or in a table that is mapped there: they are copied when they are wanted."""

    data: memoryview | bytes
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{self.size} bytes"

    def __reduce__(self) -> tuple[Any, ...]:
        return Cell, (self.read(), self.name)  # another process has not this memory

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.data.nbytes if isinstance(self.data, memoryview) else len(self.data)

    def read(self) -> bytes:
        """The bytes."""
        return bytes(self.data)


Piece = Member | Cell  # what stands for a file without being one


def read(source: Any, parse: Callable[[BinaryIO], T]) -> T:
    """Parse a path or bytes; whatever a parser raises on bad files becomes one line of MediaError."""
    if not isinstance(source, str | Path | bytes | Piece):
        raise MediaError(f"media is read from a path, bytes or arrays, but {type(source).__name__} was given")
    name = f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
    try:
        limits().hold("bytes", size := size_of(source))
        if not size:
            raise EmptyError("it holds 0 bytes")
        return parse(io.BytesIO(contents(source)))
    except MemoryError:
        raise
    except MediaError as error:
        raise type(error)(f"cannot read {name}: {error}") from error
    except Exception as error:  # decoders of third parties raise anything on corrupt files
        raise MediaError(f"cannot read {name}: {ADDRESS.sub('', str(error))}") from error


def size_of(source: str | Path | bytes | Piece) -> int:
    """How many bytes a file, a piece of one, or bytes are."""
    if isinstance(source, Piece):
        return source.size
    return len(source) if isinstance(source, bytes) else os.stat(source).st_size


def contents(source: str | Path | bytes | Piece) -> bytes:
    """The bytes of a file or of a piece of one."""
    if isinstance(source, Piece):
        return source.read()
    return source if isinstance(source, bytes) else Path(source).read_bytes()


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
