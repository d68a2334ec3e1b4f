"""What a run's folder holds already: its stages in the order they ended, and the configuration they were trained by.

A stage that has begun stands on the whole model and on its own entry and data, so a run only goes on with the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from anyx import yamls
from anyx.config import Config
from anyx.hub import CONFIG
from anyx.migrations import KEY, STATE
from anyx.training import checkpoint

MODEL = ("seed", "llm", "encoders", "inputs", "outputs")
ROUNDED = ("gradient_checkpointing", "compile", "channels_last", "liger")
FREE = (
    "log_every",
    "save_every",
    "save_minutes",
    "workers",
    "strict",
    "bad",
    *ROUNDED,
)  # of a stage: they change nothing that is learnt
SHOWN = 3
BEGINNING = re.compile(r"(in|out)puts\.[^.]+\.projector\.init")  # a saved model, whose own weights are there, has none


def done(out: Path, config: Config) -> list[str]:
    """The stages that are done, in the order they ended."""
    files = [out / name / checkpoint.FINAL for name in config.stages]
    return [file.parent.name for file in sorted(filter(Path.is_file, files), key=checkpoint.place_of)]


def begun(out: Path) -> list[str]:
    """The stages that have weights in the folder."""
    names = (checkpoint.FINAL, checkpoint.WEIGHTS.format("*"))
    return sorted({file.parent.name for name in names for file in out.glob(f"*/{name}")})


def check_same(out: Path, config: Config) -> None:
    """Raise `ValueError` where the folder's stages were trained by another configuration, and say by which."""
    stages = begun(out)
    if strangers := sorted(set(stages) - config.stages.keys()):
        raise ValueError(
            f"{out} holds the stages {strangers}, which this configuration does not have; name another folder"
        )
    if not stages or not (out / CONFIG).is_file():
        return
    held, given = (chosen(raw, stages) for raw in (yamls.resolve(yamls.read(out / CONFIG)), config.raw))
    differ = [name for name in held | given if held.get(name) != given.get(name)]
    differ = [name for name in differ if name in held or not BEGINNING.fullmatch(name)]
    if differ:
        said = [f"{name} was {held.get(name)!r}, is {given.get(name)!r}" for name in differ[:SHOWN]]
        more = f" and {len(differ) - SHOWN} more" if len(differ) > SHOWN else ""
        raise ValueError(
            f"{out} holds stages that were trained by another configuration ({'; '.join(said)}{more}); "
            "put it back, or name another folder"
        )


def chosen(raw: Mapping[str, Any], stages: list[str]) -> dict[str, Any]:
    """What decides what these stages learn, flat: path -> value."""
    entries = {name: dict(raw.get("stages", {}).get(name) or {}) for name in stages}
    sources = {source for entry in entries.values() for source in entry.get("data") or {}}
    for entry in entries.values():
        for name in FREE:
            entry.pop(name, None)
    given = {name: raw[name] for name in MODEL if name in raw}
    data = {name: node for name, node in (raw.get("data") or {}).items() if name in sources}
    return dict(flat({**given, "stages": entries, "data": data}))


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings."""
    if not isinstance(value, Mapping):
        yield path, [placed(item) for item in value] if isinstance(value, list) else placed(value)
        return
    for key, item in value.items():
        yield from flat(item, f"{path}.{key}".lstrip("."))


def placed(value: Any) -> Any:
    """A path in the one form that all its ways of writing share: a saved model says paths from its own folder."""
    known = isinstance(value, str) and (os.path.isabs(value) or os.path.exists(value.split(":")[0]))
    return os.path.realpath(value) if known else value


def upgrade(file: Path, *, write: bool = True) -> bool:
    """Write a step's checkpoint in today's form, if it is of an earlier one; whether it is."""
    step = int(file.stem.rpartition("-")[2])
    if torch.load(file, map_location="cpu", weights_only=True).get(KEY, 0) == STATE:
        return False
    state, weights = checkpoint.read(file.parent, step)
    if write:
        checkpoint.put_files(file.parent, step, state, weights)
    return True
