"""Melodies and what is said of them: `python docs/examples/midi_data.py FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from midi import Notes

STEPS = {"a scale up": 2, "a scale down": -2, "one note again and again": 0}
Turn = dict[str, Any]


def melody(name: str, first: int, seconds: float, count: int) -> Notes:
    """`count` notes, one after the other."""
    places = torch.arange(count)
    columns = [first + STEPS[name] * places, torch.full((count,), 80), seconds * places, torch.full((count,), seconds)]
    return Notes(torch.stack([column.float() for column in columns], dim=1))


def make(folder: Path, *, count: int = 240, seed: int = 0) -> Path:
    """Write melodies and `melodies.jsonl`, whose path is given back: half are heard and half are to be played."""
    generator = torch.Generator().manual_seed(seed)
    lines = []
    for index in range(count):
        name, heard = list(STEPS)[index % 3], index // 3 % 2
        pitch, speed, length = torch.randint(0, 12, (3,), generator=generator).tolist()
        one = melody(name, 54 + pitch, 0.1 + speed / 20, 4 + length) if heard else melody(name, 60, 0.25, 8)
        one.save(folder / f"{index}.mid")
        part: Turn = {"type": "notes", "path": f"{index}.mid"}
        asked: Any = [part, {"type": "text", "text": "What is this?"}] if heard else f"Play {name}."
        answer: Any = f"It is {name}." if heard else [{"type": "text", "text": "Here it is. "}, part]
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    path = folder / "melodies.jsonl"
    path.write_text("\n".join(lines))
    return path


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
