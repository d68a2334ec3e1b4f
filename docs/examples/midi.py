"""A kind of media of our own: the notes of a Standard MIDI file."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from smf import load
from timing import seconds
from torch import Tensor

from anyx import files
from anyx.faults import EmptyError
from anyx.media import Medium

TICKS = 480  # of a quarter note in the files we write: 960 a second, where no tempo is set


@dataclass(frozen=True, eq=False)
class Notes(Medium):
    """`notes` (n, 4) by their start: pitch 0 to 127, velocity 1 to 127, start and length in seconds."""

    suffix = "mid"
    notes: Tensor

    def __post_init__(self) -> None:
        files.check(self.notes, torch.float32, (None, 4), "Notes.notes")
        if not len(self.notes):
            raise EmptyError("Notes hold at least one note, but none was given")

    @classmethod
    def read(cls, source: Any) -> Notes:
        """Read a path, bytes or Notes."""
        return source if isinstance(source, Notes) else cls(files.read(source, parse))

    def to_bytes(self, format: str = "mid") -> bytes:
        """Encode as a file of one track."""
        files.one_of(format, ("mid", "midi"))
        events, body, now = list[tuple[int, bytes]](), b"", 0
        for pitch, velocity, start, length in self.notes.tolist():
            first, last = round(start * 2 * TICKS), round((start + length) * 2 * TICKS)
            events += [(first, bytes([0x90, round(pitch), round(velocity)])), (last, bytes([0x80, round(pitch), 0]))]
        for tick, event in sorted(events):
            body, now = body + packed(tick - now) + event, tick
        body += b"\x00\xff\x2f\x00"  # the end of the track
        return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, TICKS, b"MTrk", len(body)) + body


def parse(file: BinaryIO) -> Tensor:
    """The notes of a file."""
    return torch.tensor(seconds(*load(file.read()))).reshape(-1, 4)


def packed(value: int, more: int = 0) -> bytes:
    """A number as seven bits a byte, of which only the last is below 128."""
    return (packed(value >> 7, 0x80) if value > 0x7F else b"") + bytes([value & 0x7F | more])
