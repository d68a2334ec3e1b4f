"""What AnyWorld's outputs are compared in: real ones lie at the floor, noisy ones far beyond."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anyx.imports import import_file
from anyx.media import Audio, Image, Video
from anyx.scoring.embedders import embed
from anyx.scoring.kernel import kid
from anyx.scoring.scaled import FAR

WORLD = Path(__file__).parents[2] / "experiments" / "anyworld"
embedders = import_file(WORLD / "embedders.py")
world = embedders.corpus.world


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spoiled(medium: Any, seed: int) -> Any:
    """White noise of a tenth of the full scale."""
    samples = isinstance(medium, Audio)
    values = medium.samples if samples else medium.pixels if isinstance(medium, Image) else medium.frames
    noise = 0.1 * torch.randn(values.shape, generator=seeded(seed))
    if samples:
        return Audio((values + noise).clamp(-1, 1), medium.rate)
    pixels = (values + 255 * noise).clamp(0, 255).to(torch.uint8)
    return Image(pixels) if isinstance(medium, Image) else Video(pixels, medium.fps)


@pytest.mark.parametrize(("key", "render"), [("image", world.picture), ("audio", world.sound), ("video", world.clip)])
def test_fidelity_is_on_the_world_s_own_scale(key: str, render: Any) -> None:
    """Other copies of the same scenes are as near as two real sets; noise of a tenth of the scale is far from them."""
    embedder = embedders.WorldConv(key=key)
    scenes = world.SCENES[::2]
    real, other = (
        [render(scene, torch.Generator().manual_seed(100 * copy + i)) for i, scene in enumerate(scenes)]
        for copy in (1, 2)
    )
    spoilt = [spoiled(medium, i) for i, medium in enumerate(other)]
    first, floor, far = (embed(media, embedder) for media in (real, other, spoilt))
    assert first.embedder.startswith(f"world-conv@1 {key}, random-conv@1 seed 0#")
    assert first.values.shape == (36, embedder.dim)
    assert np.abs(far.values).max() <= FAR
    assert np.abs(first.values.mean(0)).mean() < 0.5
    near, beyond = (kid(first, one, matched=True).figures["kid"] for one in (floor, far))
    assert near is not None
    assert beyond is not None
    assert abs(near) < 0.3 < 1 < beyond
    with pytest.raises(ValueError, match="key: 'smell' is not one of image, audio, video"):
        embedders.WorldConv(key="smell")
