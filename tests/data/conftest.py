"""A folder of tiny real media beside the sample files of other people's formats (`samples/`, written by us)."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch

from anyx.media import Audio, Image, Video


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample files with `fox.png`, `fox2.png`, `dog.wav`, `waves.mp4`."""
    folder = tmp_path_factory.mktemp("samples")
    shutil.copytree(Path(__file__).parent / "samples", folder, dirs_exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8)
    for name, frame in (("fox", 0), ("fox2", 1)):
        Image(frames[frame]).save(folder / f"{name}.png")
    Audio((torch.arange(800) * 2 * math.pi * 440 / 8000).sin()[None], 8000).save(folder / "dog.wav")
    Video(frames, 4.0).save(folder / "waves.mp4")
    return folder
