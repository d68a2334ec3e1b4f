"""Digests: what media, captions, components and files are known by."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from anyx.digests import bytes_of, digest, media_digest

__all__ = ["digest", "media_digest", "module_digest", "parameters_digest", "transform_digest"]


def module_digest(module: nn.Module, *more: bytes | str | int) -> str:
    """A digest of a module's class and weights."""
    name = f"{type(module).__module__}.{type(module).__qualname__}"
    return parameters_digest(module.state_dict().values(), name, *module.state_dict(), *more)


def parameters_digest(tensors: Iterable[Tensor], *more: bytes | str | int) -> str:
    """A digest of weights, of every one: about a second for a gigabyte."""
    found = (digest(str(x.dtype), str(tuple(x.shape)), bytes_of(x.detach().reshape(-1))) for x in tensors)
    return digest(*more, *found)


def transform_digest(transform: Any) -> bytes:
    """What a transform is, with its settings (transforms are picklable and hold no weights)."""
    return pickle.dumps(transform)
