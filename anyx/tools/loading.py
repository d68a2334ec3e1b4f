"""A tool by its name: a folder or Hub id with weights of a known kind, or anything of one's own as `module:Class`.

Which class reads a folder says `model_type` in its `config.json`. To add one: a class that is made of a model, its
processor and a name, with its settings as keywords; a line here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyx.digests import module_digest
from anyx.imports import find
from anyx.signatures import require
from anyx.tools.interfaces import Detector, Segmenter

DETECTORS: Mapping[str, str] = {
    "grounding-dino": "anyx.tools.grounding_dino:GroundingDino",
    "mm-grounding-dino": "anyx.tools.grounding_dino:GroundingDino",
}
SEGMENTERS: Mapping[str, str] = {"sam": "anyx.tools.sam:Sam"}
FINDS, CUTS = "transformers:AutoModelForZeroShotObjectDetection", "transformers:AutoModelForMaskGeneration"


def detector(path: str, options: Mapping[str, Any] | None = None, *, device: str = "cpu") -> Detector:
    """A detector; `options` are keywords of its class."""
    found: Detector = _tool("detector", path, options or {}, device, DETECTORS, FINDS)
    return found


def segmenter(path: str, options: Mapping[str, Any] | None = None, *, device: str = "cpu") -> Segmenter:
    """A segmenter, as `detector`."""
    found: Segmenter = _tool("segmenter", path, options or {}, device, SEGMENTERS, CUTS)
    return found


def pretrained(path: str, model: str, device: str) -> tuple[Any, Any, str]:
    """A model by its Auto class, from safetensors alone; its processor; its name, which tells the weights."""
    from transformers import AutoProcessor

    found = find(model, "model").from_pretrained(path, use_safetensors=True, trust_remote_code=False)
    name = f"{Path(path).name}#{module_digest(found)[:8]}"
    return found.to(device), AutoProcessor.from_pretrained(path, trust_remote_code=False), name


def _tool(role: str, path: str, options: Mapping[str, Any], device: str, known: Mapping[str, str], model: str) -> Any:
    if is_own(path):
        own = find(path, role)
        require(role, options, own)
        return own(**options)
    from transformers import AutoConfig

    try:
        kind = AutoConfig.from_pretrained(path, trust_remote_code=False).model_type
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{role}: {path!r} is neither module:Class nor has a config.json of transformers: {why}"
        ) from error
    if kind not in known:
        raise ValueError(f"{role}: {path!r} holds a {kind!r}; allowed: {', '.join(known)}, or module:Class")
    cls = find(known[kind], role)
    require(role, options, cls)
    try:
        return cls(*pretrained(path, model, device), **options)
    except OSError as error:  # no safetensors
        raise ValueError(f"{role}: {path!r} cannot be loaded: {str(error).splitlines()[0]}") from error


def is_own(path: str) -> bool:
    """Whether a name is `module:Class` or `file.py:Class`."""
    module, colon, name = path.rpartition(":")
    return bool(colon) and name.isidentifier() and bool(module)
