"""Clouds of simple bodies and conversations about them, in LAMM's 3-D form: `python experiments/lamm/clouds.py FOLDER`.

Each body is of points on its surface, in metres; what is asked is its name, or its box (middle and sides).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anyx.grounding import Region, Size, codec
from anyx.media import Series

BODIES = ("ball", "cube", "stick")
SIDES = {"ball": (1.0, 1.0, 1.0), "cube": (1.0, 1.0, 1.0), "stick": (0.1, 0.1, 2.0)}


def body(name: str, points: int, generator: torch.Generator) -> Tensor:
    """Points (3, points) of a body around the origin."""
    x = torch.randn(3, points, generator=generator)
    ends = x / x.norm(dim=0) if name == "ball" else x / x.abs().amax(0)
    return 0.5 * ends * torch.tensor(SIDES[name])[:, None]


def make(folder: Path, *, count: int = 12, points: int = 200, seed: int = 0) -> Path:
    """Write `count` clouds and `clouds.json`, of which the path is given back."""
    generator = torch.Generator().manual_seed(seed)
    boxes = codec("space", {})
    rows: list[dict[str, Any]] = []
    for index in range(count):
        name = BODIES[index % len(BODIES)]
        middle = (torch.rand(3, generator=generator) * 4).round(decimals=2)
        Series(body(name, points, generator) + middle[:, None]).save(folder / f"{index}.npy")
        place = boxes.format([Region("", ((*middle.tolist(), *SIDES[name]),))], Size(1, 1))
        turns = [("human", "What is this?"), ("gpt", f"a {name}"), ("human", "Where is it?"), ("gpt", place)]
        talk = [{"from": who, "value": said} for who, said in turns]
        rows.append({"id": str(index), "pcl": f"{index}.npy", "conversations": talk, "task_type": "VQA3D"})
    path = folder / "clouds.json"
    path.write_text(json.dumps(rows))
    return path


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
