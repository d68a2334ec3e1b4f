"""Embedders by name, as a YAML's `embedders:` or `anyx distance --embedder` says them: `type` and its keywords.

To add one: a class with `name`, `dim` and `__call__` (see `anyx.scoring.embedders`), a line here; without a line it is
named as "module:Class" or "file.py:Class".
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anyx.evaluation.judges import placed
from anyx.imports import find
from anyx.scoring.embedders import Embedder

EMBEDDERS: Mapping[str, tuple[str, str]] = {
    "handcrafted": ("anyx.scoring.embedders:Handcrafted", "plain statistics of pictures, sounds and clips; no weights"),
    "random-conv": ("anyx.scoring.embedders:RandomConv", "random convolutions of any of them, seed=N; no weights"),
    "clip": ("anyx.scoring.clip:ClipEmbedder", "pictures, clips and texts; path=FOLDER of a CLIP of transformers"),
    "inception": ("anyx.scoring.inception_v3:InceptionV3", "pictures (FID, IS); path=FILE of torch-fidelity's weights"),
    "vggish": ("anyx.scoring.sound_nets:Vggish", "sounds (FAD, with pooled=false); path=FILE of torchvggish's weights"),
    "cnn14": ("anyx.scoring.sound_nets:Cnn14", "sounds (FD, IS, KL); path=FILE of PANNs' weights"),
}
LOGITS = ("inception", "cnn14")


def embedder(
    node: Mapping[str, Any], where: str, home: Path | None = None, *, logits: bool = False, device: str | None = None
) -> Embedder:
    """The embedder of a node; a `path` may lie in the folder `home`. With `logits` it gives these.

    ValueError, which begins with `where`: no such name, a keyword that it does not take, or logits of one without.
    """
    options = dict(node)
    name = str(options.pop("type", ""))
    if name not in EMBEDDERS and ":" not in name:
        given = f"{name!r} is not" if name else "missing; it is"
        raise ValueError(f"{where}.type: {given} one of {', '.join(EMBEDDERS)}, or of the form 'module:Class'")
    kind = find(EMBEDDERS[name][0] if name in EMBEDDERS else name, f"{where}.type", home)
    taken = inspect.signature(kind).parameters
    if logits and "output" not in taken:
        raise ValueError(f"{where}: {name} gives features and no logits; {', '.join(LOGITS)} give both")
    options |= {"output": "logits"} if logits else {}
    options |= {"device": device} if device is not None and "device" in taken else {}
    if home is not None and "path" in options:
        options["path"] = placed(str(options["path"]), home)
    made: Embedder = built(kind, options, where)
    return made


def built(kind: Callable[..., Any], options: Mapping[str, Any], where: str) -> Any:
    """What a class makes of keywords; a ValueError says which it lacks or does not take."""
    taken = inspect.signature(kind)
    try:
        taken.bind(**options)
    except TypeError as error:
        raise ValueError(f"{where}: {error}; it takes {', '.join(taken.parameters) or 'nothing'}") from error
    return kind(**options)
