"""Judges: outputs -> scores of a closed list of labels. They never share weights with the model they judge.

A judge is a class built as `Judge(labels, **keywords)` and called with a list of outputs; it returns one row of scores
an output, where -inf is no guess: a judge may recognise nothing. `evaluation.yaml` names one or more for each key; the
first is the bar, the others are reported beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from anyx.imports import find

RANKED = 5  # labels kept of a ranking


class Judge(Protocol):
    """Scores labels by outputs of one kind."""

    def __call__(self, outputs: Sequence[Any]) -> Float[Tensor, "b l"]:
        """One row of scores an output, the higher the likelier."""
        ...


Judges = Mapping[str, Mapping[str, Judge]]  # key -> name -> judge


def build(nodes: Mapping[str, Mapping[str, Mapping[str, Any]]], labels: Sequence[str], folder: Path) -> Judges:
    """The judges of a YAML's `judges:`; a `path` that lies in the experiment's folder is found there."""
    built: dict[str, dict[str, Judge]] = {}
    for key, named in nodes.items():
        if not named:
            raise ValueError(f"judges.{key}: no judge is named")
        for name, node in named.items():
            built.setdefault(key, {})[name] = made(node, f"judges.{key}.{name}", folder, labels)
    return built


def made(node: Mapping[str, Any], where: str, folder: Path | None, *given: Any) -> Any:
    """What a node of `type` ("module:Class", "file.py:Class") and keywords names; a `path` may lie in the folder."""
    options = dict(node)
    if "type" not in options:
        raise ValueError(f"{where}.type: missing; it is 'file.py:Class' or 'module:Class'")
    kind = find(str(options.pop("type")), f"{where}.type", folder)
    if folder is not None and "path" in options:
        options["path"] = placed(str(options["path"]), folder)
    try:
        return kind(*given, **options)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error


def placed(path: str, folder: Path) -> str:
    """A path that lies in the experiment's folder from here, or as it is."""
    return str(folder / path) if (folder / path).exists() else path


def rankings(judge: Judge, outputs: Sequence[Any]) -> list[list[int]]:
    """The `RANKED` best labels for each output, best first; fewer where a judge scores the rest -inf."""
    if not outputs:
        return []
    best = (scores := judge(outputs)).topk(min(RANKED, scores.shape[1]))
    return [
        [label for label, score in zip(labels, row, strict=True) if score > -math.inf]
        for labels, row in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
