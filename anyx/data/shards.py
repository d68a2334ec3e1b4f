"""Shards: the safetensors files that a cache consists of, one written at a time and never changed.

A shard names its tensors `<digest>/<name>` and notes in its metadata who made them (`maker`), of what kind they are,
when (`created`, seconds since 1970) and a digest of all their bytes (`content`). Where a value lies is read from the
header alone, and a value by one read of each of its tensors; nothing is mapped into memory, so that a file that was
cut short under us is an error and no signal.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from anyx.digests import bytes_of
from anyx.durable import save_tensors

Value = dict[str, Tensor]
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
SUFFIX = ".safetensors"


class DamagedError(ValueError):
    """A shard that is not what was written."""


class Note(NamedTuple):
    """What a shard says of itself. `maker` is the digest of the component that computed its values."""

    maker: str = ""
    kind: str = ""
    created: float = 0.0
    content: str = ""


class Layout(NamedTuple):
    """The tensors of a value, in order: (name, dtype as safetensors writes it, shape)."""

    tensors: tuple[tuple[str, str, tuple[int, ...]], ...]

    def write(self) -> str:
        """As text, equal for equal layouts."""
        return json.dumps(self.tensors)

    @classmethod
    def read(cls, text: str) -> Layout:
        """From that text."""
        return cls(tuple((name, dtype, tuple(shape)) for name, dtype, shape in json.loads(text)))


class Contents(NamedTuple):
    """A shard's note, where each value lies (digest -> layout, first byte of each tensor), and where tensors begin."""

    note: Note
    places: dict[str, tuple[Layout, tuple[int, ...]]]
    base: int


def contents(path: Path) -> Contents:
    """What a shard holds, from its header; `DamagedError` where it is cut short or no shard."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= status.st_size - 8:
            raise DamagedError(f"{path} is cut short")
        try:
            header: dict[str, Any] = json.loads(file.read(length))
            said = header.pop("__metadata__", {})
            tensors = {n: (x["dtype"], tuple(x["shape"]), *x["data_offsets"]) for n, x in header.items()}
            note = Note(said.get("maker", ""), said.get("kind", ""), float(said.get("created", 0)), said.get("content"))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedError(f"{path} has no header of safetensors: {error}") from error
    base = 8 + length
    if base + max((end for *_, end in tensors.values()), default=0) != status.st_size:
        raise DamagedError(f"{path} is not as long as its header says")
    found: dict[str, list[str]] = {}
    for name, (dtype, shape, begin, end) in tensors.items():
        if dtype not in DTYPES or end - begin != math.prod(shape) * DTYPES[dtype].itemsize:
            raise DamagedError(f"{path}: the header contradicts itself about {name}")
        found.setdefault(name.partition("/")[0], []).append(name)
    places = {}
    for digest, names in found.items():
        names.sort()
        layout = Layout(tuple((n.partition("/")[2], *tensors[n][:2]) for n in names))
        places[digest] = layout, tuple(base + tensors[n][2] for n in names)
    return Contents(note._replace(created=note.created or status.st_mtime), places, base)


def value(file: int, layout: Layout, places: tuple[int, ...]) -> Value:
    """Read a value from an open file; `DamagedError` where the file ends before it."""
    made: Value = {}
    for (name, kind, shape), begin in zip(layout.tensors, places, strict=True):
        dtype = DTYPES[kind]
        buffer = bytearray(math.prod(shape) * dtype.itemsize)
        if not buffer:
            made[name] = torch.empty(shape, dtype=dtype)
            continue
        if os.preadv(file, [buffer], begin) != len(buffer):
            raise DamagedError("a shard ends before a value that it held")
        made[name] = torch.frombuffer(buffer, dtype=dtype).view(shape)
    return made


def write(folder: Path, values: Mapping[str, Mapping[str, Tensor]], note: Note) -> Path:
    """Write a shard, so that whoever looks finds all of it or nothing, also after the power went.

    A `created` of 0 is now; its `content` is computed.
    """
    flat = {f"{key}/{name}": x.detach().cpu().contiguous() for key, v in values.items() for name, x in v.items()}
    content = blake2b(digest_size=20)
    for name in sorted(flat):
        content.update(name.encode() + bytes(1) + bytes_of(flat[name]))
    created = str(note.created or time.time())
    said = {"maker": note.maker, "kind": note.kind, "created": created, "content": content.hexdigest()}
    path = folder / f"{content.hexdigest()[:24]}{SUFFIX}"
    save_tensors(flat, path, said)
    return path


def check(path: Path) -> Contents:
    """Read all of a shard and hold it against its note; `DamagedError` where they differ."""
    found = contents(path)
    if not found.note.content:  # of a version that took none
        return found
    content, file = blake2b(digest_size=20), os.open(path, os.O_RDONLY)
    try:
        names = sorted(
            (f"{digest}/{tensor[0]}", Layout((tensor,)), begin)
            for digest, (layout, begins) in found.places.items()
            for tensor, begin in zip(layout.tensors, begins, strict=True)
        )
        for name, layout, begin in names:
            (tensor,) = value(file, layout, (begin,)).values()
            content.update(name.encode() + bytes(1) + bytes_of(tensor))
    finally:
        os.close(file)
    if content.hexdigest() != found.note.content:
        raise DamagedError(f"{path} does not hold the numbers that were written")
    return found


def packed(places: tuple[int, ...]) -> bytes:
    """Places as bytes."""
    return struct.pack(f"<{len(places)}Q", *places)


def unpacked(places: bytes) -> tuple[int, ...]:
    """Places from bytes."""
    return struct.unpack(f"<{len(places) // 8}Q", places)
