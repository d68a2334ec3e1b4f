"""The Inception that FID, KID and the inception score of pictures are published with, from a local file of its weights.

Its file is the one that torch-fidelity and pytorch-fid load (`pt_inception-2015-12-05-6726825d.pth`), or the same as
safetensors; nothing is downloaded. Only weights are read and the network is written here, since an exported program
would run what its file says: `torch.export.load` falls back to unpickling, and TorchScript can write files. How many
channels a layer has, the weights say. Pictures are brought to 299 x 299 as TensorFlow 1 did, which is torch-fidelity's
way and changes figures: pytorch-fid's are of another one, and of torchmetrics' too. Equal to torch-fidelity of the same
weights.

Letters: n media, b pictures, c channels, h height, w width, d features or labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from anyx.digests import bytes_of, digest
from anyx.media import Image, Video
from anyx.scoring.embedders import Medium
from anyx.scoring.features import Floats
from anyx.weights import read

Output = Literal["features", "logits"]
SIDE = 299
BATCH = 16  # frames at once
EPS = 1e-3  # of the norms

# Of a block its branches, each a chain of convolutions; `avg` and `max` are pools over 3 x 3, `down` one that halves.
SMALL = (
    ("branch1x1",),
    ("branch5x5_1", "branch5x5_2"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
    ("avg", "branch_pool"),
)
LONG = (
    ("branch1x1",),
    tuple(f"branch7x7_{n}" for n in (1, 2, 3)),
    tuple(f"branch7x7dbl_{n}" for n in (1, 2, 3, 4, 5)),
    ("avg", "branch_pool"),
)
HALVED = (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), ("down",))
LAST = (("branch3x3_1", "branch3x3_2"), tuple(f"branch7x7x3_{n}" for n in (1, 2, 3, 4)), ("down",))
WIDE = (
    ("branch1x1",),
    ("branch3x3_1", "branch3x3_2a"),
    ("branch3x3_1", "branch3x3_2b"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a"),
    ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3b"),
)
BLOCKS = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), SMALL),
    "Mixed_6a": HALVED,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), LONG),
    "Mixed_7a": LAST,
    "Mixed_7b": (*WIDE, ("avg", "branch_pool")),
    "Mixed_7c": (*WIDE, ("max", "branch_pool")),
}
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "down", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "down")
NARROWING = {"Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_4a_3x3"}  # without padding, as are those of stride 2
HALVING = {
    "Conv2d_1a_3x3", "Mixed_6a.branch3x3", "Mixed_6a.branch3x3dbl_3", "Mixed_7a.branch3x3_2", "Mixed_7a.branch7x7x3_4",
}  # fmt: skip


class InceptionV3:
    """`features` (2048 of each picture) or `logits` (1008, without their bias, as the inception score takes them).

    `path` is a .pth, .pt or .safetensors file of weights. A clip has the mean of its frames. ValueError: no such file,
    or one that lacks a layer.
    """

    def __init__(self, path: str | Path, *, output: Output = "features", device: str = "cpu") -> None:
        if output not in get_args(Output):
            raise ValueError(f"output: {output!r} is not one of {', '.join(get_args(Output))}")
        weights = weights_of(path, names(), "torch-fidelity's or pytorch-fid's Inception")
        self.weights = {name: tensor.to(device) for name, tensor in weights.items()}
        self.output, self.device = output, device
        self.name = f"inception-v3@torch-fidelity {output}#{digest(*parts(weights))[:12]}"
        self.dim = weights["fc.weight"].shape[int(output == "features")]

    def __call__(self, media: Sequence[Medium]) -> Floats:
        """Features or logits (n, d); a ValueError for what has no pictures."""
        found = [self._of(medium) for medium in media]
        return np.stack(found) if found else np.zeros((0, self.dim))

    @torch.inference_mode()
    def _of(self, medium: Medium) -> Floats:
        if not isinstance(medium, Image | Video):
            raise ValueError(f"Inception takes pictures and clips, but {type(medium).__name__} was given")
        frames = medium.pixels[None] if isinstance(medium, Image) else medium.frames
        outputs = [self.forward(part.to(self.device)) for part in torch.split(frames, BATCH)]
        found: Floats = torch.cat(outputs).double().mean(0).cpu().numpy()
        return found

    def forward(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Of pixels from 0 to 255."""
        x = self.chain((resized(pixels.float(), SIDE) - 128) / 128, "", STEM)
        for block, branches in BLOCKS.items():
            x = torch.cat([self.chain(x, f"{block}.", branch) for branch in branches], dim=1)
        pooled: Tensor = x.mean((2, 3))
        return pooled if self.output == "features" else pooled @ self.weights["fc.weight"].T

    def chain(self, x: Float[Tensor, "b c h w"], prefix: str, steps: Sequence[str]) -> Float[Tensor, "b d h2 w2"]:
        """Convolutions and pools in order."""
        for step in steps:
            if step == "down":
                x = functional.max_pool2d(x, 3, 2)
            elif step == "max":
                x = functional.max_pool2d(x, 3, 1, 1)
            elif step == "avg":
                x = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
            else:
                x = self.convolved(x, prefix + step)
        return x

    def convolved(self, x: Float[Tensor, "b c h w"], name: str) -> Float[Tensor, "b d h2 w2"]:
        """One convolution with its norm and ReLU."""
        weight = self.weights[f"{name}.conv.weight"]
        stride = 2 if name in HALVING else 1
        tall, wide = weight.shape[-2:]
        padding = (0, 0) if name in HALVING | NARROWING else (tall // 2, wide // 2)
        x = functional.conv2d(x, weight, stride=stride, padding=padding)
        mean, spread, scale, shift = (
            self.weights[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.relu(functional.batch_norm(x, mean, spread, scale, shift, eps=EPS))


def names() -> list[str]:
    """The tensors that the network has."""
    chains = [("", STEM), *((f"{block}.", branch) for block, branches in BLOCKS.items() for branch in branches)]
    pools = ("down", "max", "avg")
    layers = dict.fromkeys(prefix + step for prefix, steps in chains for step in steps if step not in pools)
    ends = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    return [*(f"{layer}.{end}" for layer in layers for end in ends), "fc.weight"]


def resized(x: Float[Tensor, "b c h w"], side: int) -> Float[Tensor, "b c side side"]:
    """Bilinear as in TensorFlow 1: a pixel's place is its number times the ratio, and nothing is smoothed before."""
    for axis in (2, 3):
        size = x.shape[axis]
        places = torch.arange(side, dtype=x.dtype, device=x.device) * (size / side)
        low = places.floor().long()
        high = (low + 1).clamp_max(size - 1)
        share = (places - low).view([-1 if at == axis else 1 for at in range(4)])
        x = x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share
    return x


def weights_of(path: str | Path, wanted: Sequence[str], what: str) -> dict[str, Tensor]:
    """The tensors of these names in single precision; ValueError where there is no file or it lacks one."""
    if not Path(path).is_file():
        raise ValueError(f"path: there is no file '{path}'; expected {what}, a .pth or .safetensors file")
    held, found = read(Path(path), wanted)
    if missing := [name for name in wanted if name not in found]:
        having = ", ".join(held[:3]) or "nothing"
        raise ValueError(f"path: {path} has no {missing[0]}; it is to be {what}, but it has {having}")
    return {name: found[name].float() for name in wanted}


def parts(weights: Mapping[str, Tensor]) -> list[bytes | str]:
    """What a digest of weights is made of."""
    return [part for name in sorted(weights) for part in (name, bytes_of(weights[name]))]
