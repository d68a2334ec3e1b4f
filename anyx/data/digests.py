"""Digests: what media, captions, components and files are known by."""

from __future__ import annotations

import pickle
from typing import Any

from anyx.digests import digest, media_digest, module_digest, parameters_digest

__all__ = ["digest", "media_digest", "module_digest", "parameters_digest", "transform_digest"]


def transform_digest(transform: Any) -> bytes:
    """What a transform is, with its settings (transforms are picklable and hold no weights)."""
    return pickle.dumps(transform)
