"""Reads Standard MIDI files as events (tick, status, first, second): notes and tempos.

Status 0x9. begins a note and 0x8. ends it: pitch and velocity. 0xff sets the tempo: a quarter note in microseconds.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

from anyx.faults import MediaError, TruncatedError

Event = tuple[int, int, int, int]


def load(data: bytes) -> tuple[int, list[Event]]:
    """Ticks of a quarter note, and the events of all tracks in the order of time."""
    name, size, _, _, division = struct.unpack(">4sIHHH", data[:14])
    if name != b"MThd" or not 0 < division < 0x8000:
        raise MediaError("it is no Standard MIDI file that counts the ticks of a quarter note")
    place, found = 8 + size, list[Event]()
    while place < len(data):
        name, size = struct.unpack(">4sI", data[place : place + 8])
        place += 8 + size
        if place > len(data):
            raise TruncatedError(f"its last chunk is truncated: {place - len(data)} of {size} bytes are missing")
        found += track(data[place - size : place]) if name == b"MTrk" else ()
    return division, sorted(found, key=lambda event: event[0])


def track(chunk: bytes) -> Iterator[Event]:
    """The notes and tempos of a track; a status byte that is left out is the one before."""
    stream, tick, status = io.BytesIO(chunk), 0, 0
    while stream.tell() < len(chunk):
        tick += number(stream)
        byte = stream.read(1)[0]
        status = byte if byte & 0x80 else status
        if status >= 0xF0:
            kind, body = stream.read(1)[0] if status == 0xFF else 0, stream.read(number(stream))
            yield from [(tick, 0xFF, int.from_bytes(body), 0)] if kind == 0x51 else ()
            continue
        first = stream.read(1)[0] if byte & 0x80 else byte
        second = 0 if status & 0xE0 == 0xC0 else stream.read(1)[0]
        yield from [(tick, status, first & 0x7F, second & 0x7F)] if status & 0xE0 == 0x80 else ()


def number(stream: io.BytesIO) -> int:
    """A number of seven bits a byte, of which only the last is below 128."""
    byte = stream.read(1)[0]
    total = byte & 0x7F
    while byte & 0x80:
        byte = stream.read(1)[0]
        total = total << 7 | byte & 0x7F
    return total
