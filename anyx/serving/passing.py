"""Media between two processes: a header of plain JSON, then the bytes of the tensors. Nothing is pickled.

A message is the header's length, the header, and the bytes of `sizes`. Media are frozen dataclasses of tensors,
numbers, texts and other media; which classes there are is said by who receives, never by who sends.
"""

from __future__ import annotations

import dataclasses
import json
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

HEADER = 2**16  # bytes of a header, at most
DTYPES = {str(d): d for d in (torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.float64)}


def name_of(kind: type[Any]) -> str:
    """How a class of media is called between processes: module:name."""
    return f"{kind.__module__}:{kind.__qualname__}"


def pack(medium: Any, tensors: list[Tensor]) -> Any:
    """A medium as JSON holds it; its tensors are put on the list."""
    if isinstance(medium, Tensor):
        tensors.append(medium.contiguous())
        return {"tensor": len(tensors) - 1, "dtype": str(medium.dtype), "shape": list(medium.shape)}
    if not dataclasses.is_dataclass(medium):
        return {"value": medium}
    fields = {field.name: pack(vars(medium)[field.name], tensors) for field in dataclasses.fields(medium)}
    return {"kind": name_of(type(medium)), "fields": fields}


def unpack(tree: Mapping[str, Any], tensors: Sequence[Tensor], kinds: Mapping[str, type[Any]]) -> Any:
    """The medium of a tree that `pack` made; `KeyError` for a class that is not among `kinds`."""
    if "tensor" in tree:
        return tensors[tree["tensor"]].view(DTYPES[tree["dtype"]]).view(tree["shape"])
    if "value" in tree:
        return tree["value"]
    return kinds[tree["kind"]](**{name: unpack(part, tensors, kinds) for name, part in tree["fields"].items()})


def send(connection: socket.socket, header: Mapping[str, Any], parts: Sequence[bytes | memoryview]) -> None:
    """Send a message."""
    head = json.dumps({**header, "sizes": [len(part) for part in parts]}).encode()
    connection.sendall(len(head).to_bytes(4, "big") + head)
    for part in parts:
        connection.sendall(part)


def receive(connection: socket.socket, most: int) -> tuple[dict[str, Any], list[Tensor]]:
    """The next message: header and parts, of `most` bytes together; `EOFError` where the other side has ended."""
    length = int.from_bytes(_exactly(connection, 4).numpy().tobytes(), "big")
    if length > HEADER:
        raise ValueError(f"a header of {length:,} bytes is more than {HEADER:,}")
    header = json.loads(_exactly(connection, length).numpy().tobytes())
    if sum(header["sizes"]) > most:
        raise ValueError(f"{sum(header['sizes']):,} bytes are more than the {most:,} that may be sent")
    return header, [_exactly(connection, size) for size in header["sizes"]]


def raw(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, where they are."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else memoryview(b"")


def _exactly(connection: socket.socket, size: int) -> Tensor:
    """So many bytes of the connection."""
    made = torch.empty(size, dtype=torch.uint8)
    left = made.numpy().data
    while left:
        if not (count := connection.recv_into(left)):
            raise EOFError("the other side has ended")
        left = left[count:]
    return made
