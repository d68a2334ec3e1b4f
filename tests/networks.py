"""Seeded weights of published networks with a few channels a layer, by the names and in the order of their files."""

from __future__ import annotations

import torch
from torch import Tensor

from anyx.scoring.inception_v3 import BLOCKS, STEM

WIDTH = 3
POOLS = ("down", "max", "avg")


def drawn(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Matrices of unit gain, norms near 1 and 0."""
    dice = torch.Generator().manual_seed(seed)
    found = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=dice)
        if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
            values = 1 + 0.1 * values.clamp(-3, 3)
        elif len(shape) == 1:
            values = 0.1 * values
        else:
            values = values * (2 / values[0].numel()) ** 0.5
        found[name] = values
    return found


def normed(shapes: dict[str, tuple[int, ...]], name: str, width: int) -> None:
    for end in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"{name}.{end}"] = (width,)


def inception() -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {}

    def chained(width: int, prefix: str, steps: tuple[str, ...]) -> int:
        for step in (one for one in steps if one not in POOLS):
            tail = step.rpartition("_")[2]
            size = (1, 1)
            if "7x7" in step:
                long = [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)] if "dbl" in step else [(1, 1), (1, 7), (7, 1), (3, 3)]
                size = long[int(tail) - 1]
            elif tail.endswith(("a", "b")) and "3x3" in step:
                size = (1, 3) if tail.endswith("a") else (3, 1)
            elif "dbl" in step:
                size = (1, 1) if tail == "1" else (3, 3)
            elif "5x5" in step:
                size = (1, 1) if tail == "1" else (5, 5)
            elif step == "branch3x3_1":
                size = (1, 1)
            elif "3x3" in step:
                size = (3, 3)
            shapes[f"{prefix}{step}.conv.weight"] = (WIDTH, width, *size)
            normed(shapes, f"{prefix}{step}.bn", WIDTH)
            width = WIDTH
        return width

    width = chained(3, "", STEM)
    for block, branches in BLOCKS.items():
        width = sum(chained(width, f"{block}.", branch) for branch in branches)
    shapes |= {"fc.weight": (5, width), "fc.bias": (5,)}
    return drawn(shapes)


def vggish() -> dict[str, Tensor]:
    shapes: dict[str, tuple[int, ...]] = {}
    for at, before in zip((0, 3, 6, 8, 11, 13), (1, *[WIDTH] * 5), strict=True):
        shapes |= {f"features.{at}.weight": (WIDTH, before, 3, 3), f"features.{at}.bias": (WIDTH,)}
    for at, (before, after) in {0: (WIDTH * 24, 8), 2: (8, 8), 4: (8, 6)}.items():
        shapes |= {f"embeddings.{at}.weight": (after, before), f"embeddings.{at}.bias": (after,)}
    return drawn(shapes)


def cnn14() -> dict[str, Tensor]:
    """Its spectra are random too, of the windows that the file for 16 kHz has."""
    shapes: dict[str, tuple[int, ...]] = {
        f"spectrogram_extractor.stft.conv_{part}.weight": (257, 1, 512) for part in ("real", "imag")
    }
    shapes["logmel_extractor.melW"] = (257, 64)
    normed(shapes, "bn0", 64)
    for block in range(1, 7):
        for at, before in ((1, WIDTH if block > 1 else 1), (2, WIDTH)):
            shapes[f"conv_block{block}.conv{at}.weight"] = (WIDTH, before, 3, 3)
            normed(shapes, f"conv_block{block}.bn{at}", WIDTH)
    for name, before, after in (("fc1", WIDTH, 8), ("fc_audioset", 8, 7)):
        shapes |= {f"{name}.weight": (after, before), f"{name}.bias": (after,)}
    found = drawn(shapes)
    return found | {"logmel_extractor.melW": found["logmel_extractor.melW"].abs()}


def picture() -> Tensor:
    return torch.randint(0, 256, (3, 40, 56), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def sound() -> Tensor:
    """2 s at 16 kHz, and a little more."""
    return 0.1 * torch.randn((1, 32077), generator=torch.Generator().manual_seed(1))
