"""Depth maps of a wall with a bump or a dent, and what is said of them: `python docs/examples/depth_data.py FOLDER`.

The wall is about 2 m away, and what stands out of it 4 cm: in the 8 bits of a usual picture there is nothing to see.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from anyx import Image

SHAPES, SIDES = ("bump", "dent"), ("left", "right")


def scene(shape: str, side: str, generator: torch.Generator) -> Image:
    """A depth map in millimetres, 64 by 64."""
    far, x, y, size = (torch.rand(4, generator=generator) * torch.tensor([400, 12, 40, 6])).int().tolist()
    levels = torch.full((64, 64), 1800 + far, dtype=torch.int32)
    levels += torch.randint(-2, 3, levels.shape, generator=generator, dtype=torch.int32)  # a camera's noise
    x += 0 if side == "left" else 34
    levels[y : y + 12 + size, x : x + 12 + size] += -40 if shape == "bump" else 40
    return Image.read(levels)


def make(folder: Path, *, count: int = 400, seed: int = 0) -> Path:
    """Write `count` 16-bit PNGs and `depth.jsonl`, whose path is given back."""
    generator = torch.Generator().manual_seed(seed)
    lines = []
    for index in range(count):
        shape, side = SHAPES[index % 2], SIDES[index // 2 % 2]
        scene(shape, side, generator).save(folder / f"{index}.png")
        asked = [{"type": "depth", "path": f"{index}.png"}, {"type": "text", "text": "What is on the wall?"}]
        answer = f"A {shape} on the {side}."
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": turns}))
    path = folder / "depth.jsonl"
    path.write_text("\n".join(lines))
    return path


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
