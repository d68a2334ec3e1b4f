"""Weights in a byte each: matrices as int8 with one scale along their shorter side; vectors stay as they are.

A LoRA of rank r has r scales at either end, a projector as many as its narrower width. The error is at most 1/62 of the
largest weight that shares a scale, which projectors bear, and a compressor (git's, an archive's) packs their bytes to
five bits or so. For narrow matrices, such as a LoRA's, it is 1/254: they change every layer, and projectors that were
trained after them read the sum of their errors. So it is for whole networks, where `levels` asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"  # name of a matrix's scales: its own and this
LEVELS = 31  # on either side of zero
FINE, NARROW = 127, 64  # levels of matrices that are this narrow or narrower
SMALL = 256  # numbers: below this a matrix is not worth it


def shrunk(state: Mapping[str, Tensor], *, levels: int | None = None) -> dict[str, Tensor]:
    """A state dict as it is stored; `levels` on either side of zero for all matrices, whatever their width."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            found[name] = tensor
        elif tensor.ndim < 2 or tensor.numel() < SMALL:
            found[name] = tensor.detach()  # a mean of 40 beside a deviation of 0.4 would not survive bf16
        else:
            flat = tensor.detach().float().flatten(1)
            largest = flat.abs().amax(int(flat.shape[0] <= flat.shape[1]), keepdim=True)
            steps = levels or (FINE if min(flat.shape) <= NARROW else LEVELS)
            scale = largest.clamp(min=torch.finfo(torch.float32).tiny) / steps
            found[name] = (flat / scale).round().to(torch.int8).view_as(tensor)
            found[name + SCALE] = scale
    return found


def restored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A stored state dict in fp32 where it was int8; any other is left as it is."""
    found = {}
    for name, tensor in state.items():
        if tensor.dtype == torch.int8 and name + SCALE in state:
            found[name] = (tensor.flatten(1) * state[name + SCALE]).view_as(tensor)
        elif not (name.endswith(SCALE) and state.get(name.removesuffix(SCALE), tensor).dtype == torch.int8):
            found[name] = tensor
    return found
