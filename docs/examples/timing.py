"""Events of a Standard MIDI file -> notes in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from smf import Event

from anyx.faults import limits


def seconds(division: int, events: Iterable[Event]) -> list[list[float]]:
    """(pitch, velocity, start, length) of every note, by its start, by the tempos that the file sets.

    Of the notes of one pitch the one that began first ends first; what is never ended ends with the file.
    """
    now, before, tempo = 0.0, 0, 500_000
    found, sounding = list[list[float]](), defaultdict[tuple[int, int], list[list[float]]](list)
    for tick, status, first, second in events:
        now, before = now + (tick - before) * tempo / division / 1e6, tick
        limits().hold("seconds", now)
        same = sounding[status & 0x0F, first]
        if status == 0xFF:
            tempo = first
        elif status >= 0x90 and second:
            found.append([first, second, now, -1.0])
            same.append(found[-1])
        elif same:  # a beginning of velocity 0 is an end
            note = same.pop(0)
            note[3] = now - note[2]
    return [[*note[:3], note[3] if note[3] >= 0 else now - note[2]] for note in found]
