"""LPIPS: how unlike two pictures look to a network that learned to name pictures (arXiv 1801.03924).

At five depths of a VGG16 or AlexNet the features of every place are brought to length 1; the squares of their
differences are weighed by a learned head, averaged over places and summed over depths. Both weights are read from local
safetensors files, since nothing here downloads: the network's with the names of torchvision (`features.0.weight`, with
or without `features.`), the heads' with those of LPIPS (`lin0.model.1.weight`). How many channels a layer has, the
weights say. Equal to torchmetrics' figure of the same weights.

Letters: n pairs, c channels, h height, w width.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from anyx.digests import bytes_of, digest
from anyx.media import Image
from anyx.scoring.fidelity import check_pairs
from anyx.scoring.result import Result

Net = Literal["vgg", "alex"]
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of pixels from -1 to 1
EPS = 1e-8  # under the root of a length
DEPTHS = 5


class Layout(NamedTuple):
    """A network's convolutions in order, by stride and padding, the layers after which it is read, and its pools."""

    convolutions: dict[int, tuple[int, int]]  # place among torchvision's `features`: stride, padding
    pools: dict[int, int]  # place: window, moved by 2
    read: tuple[int, ...]  # places of the ReLUs


LAYOUTS = {
    "vgg": Layout(
        dict.fromkeys((0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (1, 1)),
        dict.fromkeys((4, 9, 16, 23), 2),
        (3, 8, 15, 22, 29),
    ),
    "alex": Layout({0: (4, 2), 3: (1, 2), 6: (1, 1), 8: (1, 1), 10: (1, 1)}, {2: 3, 5: 3}, (1, 4, 7, 9, 11)),
}


class Lpips:
    """The distance of pictures of one size, by weights in the files `path` (the network) and `heads`.

    `name` says which network, with a digest of both. ValueError: a file without what the network has.
    """

    def __init__(self, path: str | Path, heads: str | Path, *, net: Net = "vgg") -> None:
        if net not in get_args(Net):
            raise ValueError(f"net: {net!r} is not one of {', '.join(get_args(Net))}")
        weights, linear = read(path, "features."), read(heads, "")
        self.layers = layers(weights, LAYOUTS[net], str(path))
        names = [f"lin{depth}.model.1.weight" for depth in range(DEPTHS)]
        if missing := [name for name in names if name not in linear]:
            raise ValueError(f"heads: {heads} has no {missing[0]}; it has {', '.join(list(linear)[:3]) or 'nothing'}")
        self.heads = [linear[name].reshape(-1) for name in names]
        for depth, head in enumerate(self.heads):
            width = widths(self.layers)[depth]
            if len(head) != width:
                raise ValueError(f"heads: {names[depth]} is of {len(head)} channels, but {path} has {width} there")
        parts = [bytes_of(table[name]) for table in (weights, linear) for name in sorted(table)]
        self.name = f"lpips@0.1 {net}#{digest(*parts)[:12]}"

    @torch.inference_mode()
    def __call__(self, a: Image, b: Image) -> float:
        """The distance of two pictures; 0 of equal ones."""
        x, y = (self.features(one) for one in (a, b))
        return float(sum((head @ (p - q).square()).mean() for head, p, q in zip(self.heads, x, y, strict=True)))

    def features(self, picture: Image) -> list[Float[Tensor, "c hw"]]:
        """Features of length 1 of every place, at each depth."""
        shift, scale = (torch.tensor(one)[:, None, None] for one in (SHIFT, SCALE))
        x = ((picture.pixels.float() / 127.5 - 1 - shift) / scale)[None]
        found = []
        for part in self.layers:
            x = part(x)
            found.append((x / (x.square().sum(1, keepdim=True) + EPS).sqrt())[0].flatten(1))
        return found


def read(path: str | Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file in single precision, their names without a prefix; a ValueError of no file."""
    if not Path(path).is_file():
        raise ValueError(f"LPIPS reads local safetensors files, but there is no {path}")
    return {name.removeprefix(prefix): x.float() for name, x in load_file(Path(path)).items()}


def layers(weights: dict[str, Tensor], layout: Layout, path: str) -> list[nn.Sequential]:
    """The network in five parts, each up to where it is read."""
    every: dict[int, nn.Module] = {place: nn.MaxPool2d(window, 2) for place, window in layout.pools.items()}
    for place, (stride, padding) in layout.convolutions.items():
        if lacking := [name for name in (f"{place}.weight", f"{place}.bias") if name not in weights]:
            known = ", ".join(sorted(name for name in weights if re.fullmatch(r"\d+\.weight", name))[:3]) or "none"
            raise ValueError(f"path: {path} has no features.{lacking[0]}; of the kind it has {known}")
        weight = weights[f"{place}.weight"]
        made = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[-1], stride, padding)
        made.load_state_dict({"weight": weight, "bias": weights[f"{place}.bias"]})
        every |= {place: made, place + 1: nn.ReLU()}
    edges = (-1, *layout.read)
    return [
        nn.Sequential(*(every[at] for at in range(start + 1, end + 1))).requires_grad_(False)
        for start, end in pairwise(edges)
    ]


def widths(parts: Sequence[nn.Sequential]) -> list[int]:
    """The channels of each part's last convolution."""
    return [[layer.out_channels for layer in part if isinstance(layer, nn.Conv2d)][-1] for part in parts]


def lpips(references: Sequence[Image], made: Sequence[Image], measure: Lpips) -> Result:
    """The mean distance of pictures and their references, of the same sizes; less is nearer."""
    check_pairs(references, made)
    items = [measure(a, b) for a, b in zip(references, made, strict=True)]
    mean = float(np.mean(items)) if items else None
    return Result(metric="lpips", by={"embedder": measure.name}, figures={"lpips": mean}, n=len(items), items=items)
