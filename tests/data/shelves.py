"""Shards and tables made of seeds, for the tests of what reads them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from anyx.media import Image


def picture(seed: int, format: str = "png") -> bytes:
    pixels = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image(pixels).to_bytes(format)


def tar(path: Path, files: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def shards(folder: Path, sizes: Sequence[int], *, prefix: str = "") -> Path:
    """Shards of so many pictures with captions; sample n is `picture(n)` and "number n"."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    for shard, size in enumerate(sizes):
        files: dict[str, bytes] = {}
        for _ in range(size):
            files |= {f"{prefix}{number:04d}.png": picture(number), f"{prefix}{number:04d}.txt": b"number %d" % number}
            number += 1
        tar(folder / f"{shard:03d}.tar", files)
    return folder
