"""Sizes of published components: what a `path` that is not here would weigh, for models on the `meta` device.

`configs/published/sizes.yaml` holds them by the last part of a path or Hub id. `keywords` and `language_model` put a
configuration in the place of a path; `whole` counts everything that a published file or folder holds, also what anyx
does not build from it (ImageBind's other towers, Stable Diffusion's safety checker).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from anyx import yamls
from anyx.registry import resolve


def folder() -> Path:
    """Where the sizes lie, with a tokenizer of three tokens that stands in for those of absent language models."""
    return Path(str(files("anyx.configs"))) / "published"


@cache
def sizes() -> Mapping[str, Mapping[str, Any]]:
    """Everything that is known, by name."""
    known: dict[str, Mapping[str, Any]] = yamls.read(folder() / "sizes.yaml")["published"]
    return known


def find(path: object) -> Mapping[str, Any] | None:
    """The entry of a path or Hub id by its last part; `None` where the path is here, or is none of those known."""
    if not isinstance(path, str) or Path(path).exists():
        return None
    return sizes().get(path.rstrip("/").rpartition("/")[2])


def keywords(given: Mapping[str, Any]) -> dict[str, Any]:
    """A component's keyword arguments, its absent published `path` replaced by configurations; what is given wins."""
    entry = find(given.get("path"))
    return dict(given) if entry is None or "keywords" not in entry else _random(given)


def language_model(path: str | Mapping[str, Any], tokenizer: str | None) -> tuple[str | Mapping[str, Any], str | None]:
    """(path, tokenizer) of an LLM, an absent published one replaced by its configuration and a stand-in tokenizer."""
    entry = find(path)
    if entry is None or "language_model" not in entry:
        return path, tokenizer
    return entry["language_model"], tokenizer or str(folder())


def random(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with random weights: every absent published `path` replaced by sizes, others left as they are."""
    made = dict(raw)
    if "llm" in raw:
        path, tokenizer = language_model(raw["llm"]["path"], raw["llm"].get("tokenizer"))
        made["llm"] = {**raw["llm"], "path": path, "tokenizer": tokenizer}
    made["encoders"] = {name: _random(node) for name, node in raw.get("encoders", {}).items()}
    made["outputs"] = {
        key: {**port, "decoder": _random(port["decoder"])} for key, port in raw.get("outputs", {}).items()
    }
    return made


def _random(node: Mapping[str, Any]) -> dict[str, Any]:
    entry = find(node.get("path"))
    if entry is None:
        return dict(node)
    given = {name: value for name, value in node.items() if name != "path"}
    return {**entry.get("keywords", {}), **given}


def beside(path: object, built: int) -> int:
    """Parameters of the published file or folder of a path, where `built` of them were built from it."""
    entry = find(path)
    if entry is None:
        return built
    with torch.device("meta"):
        if "holds" in entry:
            return _held(tuple((name, _tuple(value)) for name, value in entry["holds"].items()))
        return built + sum(_count(_also(node)) for node in entry.get("also", {}).values())


@cache
def _held(node: tuple[tuple[str, Any], ...]) -> int:
    """Parameters of a file of several components: a list among the keywords says one component an item."""
    given = dict(node)
    cls = resolve("encoders", given.pop("type"))
    ((several, items),) = [(name, value) for name, value in given.items() if isinstance(value, tuple)]
    rest = {name: value for name, value in given.items() if name != several}
    return sum(_count(cls(**rest, **{several: item})) for item in items)


def _also(node: Mapping[str, Any]) -> torch.nn.Module:
    module, _, name = str(node["class"]).partition(":")
    cls = vars(import_module(module))[name]
    made: torch.nn.Module = cls(cls.config_class(**node["config"]))
    return made


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
