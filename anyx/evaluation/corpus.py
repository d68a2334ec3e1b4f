"""What an evaluation asks of a corpus, and how the files that an `evaluation.yaml` names are found.

A corpus holds concepts, each with a label out of a closed list, and media of them that training never saw. Cells are
named input->output over its `keys`, of which "text" is words and the others are kinds of media. A corpus is an
experiment's own: the YAML names it as `file.py:Class`, relative to itself, so that nothing in anyx imports it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from anyx.interfaces import Media

Message = dict[str, Any]


class Corpus(Protocol):
    """Concepts with labels, requests about them, and real held-out media."""

    keys: Sequence[str]  # "text" and kinds of media, in the matrix's order
    splits: Sequence[str]  # each is measured in every cell
    apart: Mapping[str, Sequence[str]]  # further splits and the cells they are measured in
    judged: Sequence[str]  # splits whose real media show how good a judge is
    synthetic: Mapping[str, Sequence[str]]  # split -> keys whose held-out media are made, not found
    labels: Sequence[str]  # the closed list

    def chosen(self, split: str, limit: int | None) -> list[str]:
        """A fixed choice of at most `limit` concepts."""
        ...

    def label(self, concept: str) -> str:
        """The concept's label."""
        ...

    def request(self, split: str, source: str, target: str, concept: str, seed: int) -> list[Message]:
        """A conversation that asks for `target`; a medium that goes in stands as a part whose `media` is None."""
        ...

    def media(self, split: str, key: str, concept: str, seed: int) -> Media:
        """A held-out medium that goes in."""
        ...

    def real(self, split: str, key: str, concept: str, seed: int) -> Media | str:
        """A real output, for the ceiling of a judge."""
        ...

    def plain(self) -> list[str]:
        """Requests whose replies must be words only."""
        ...


def load_file(path: str | Path) -> ModuleType:
    """A Python file as a module, once; its name comes from its folder and its stem."""
    path = Path(path).resolve()
    name = f"{path.parent.name}_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ValueError(f"there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def find(name: str, folder: Path, key: str) -> Any:
    """The object that `file.py:name` (relative to `folder`) or `module:name` names."""
    place, _, attribute = name.partition(":")
    try:
        module = load_file(folder / place) if place.endswith(".py") else import_module(place)
        return getattr(module, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"{key}: {name!r} is not 'file.py:name' or 'module:name': {error}") from error
