"""Older YAMLs and checkpoints in today's form: an ordered list of pure functions, each from one version to the next.

A YAML or checkpoint without `version` is of version 0. What anyx writes says the version it writes. `upgrade` is asked
wherever one is read; `anyx migrate` writes what it returns. A form is changed by adding one function to the end of
`CONFIGS` or `STATES`, which gives every older file the new form, and a test that an old file still reads.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml

Form = dict[str, Any]
Step = Callable[[Form], Form]
KEY = "version"
PORTS = "inputs"
log = logging.getLogger("anyx")


def config_1(old: Form) -> Form:
    """Keys that no model read: `blend` of inputs and their projectors, `into: sequence`, the section `evaluation`.

    `blend` was never handed on (its experiment ended without it); `into` now names adapters, and the sequence is what
    is meant where it says nothing; how a model is measured stands in an `evaluation.yaml` of its own.
    """
    new = {name: value for name, value in old.items() if name != "evaluation" or not {"llm", "stages"} & old.keys()}
    ports = old.get(PORTS)
    if isinstance(ports, Mapping):
        new[PORTS] = {key: _port(port) for key, port in ports.items()}
    return new


def _port(port: Any) -> Any:
    if not isinstance(port, Mapping):
        return port
    made = {name: value for name, value in port.items() if name != "blend" and (name, value) != ("into", "sequence")}
    if isinstance(made.get("projector"), Mapping):
        made["projector"] = {name: value for name, value in made["projector"].items() if name != "blend"}
    return made


def state_1(old: Form) -> Form:
    """What was skipped so far, by process (`read`), and the best of validation (`best`), neither of which was kept."""
    return {"read": {}, "best": {}, **old}


CONFIGS: Sequence[Step] = (config_1,)
STATES: Sequence[Step] = (state_1,)
CURRENT = len(CONFIGS)  # of YAMLs and model folders
STATE = len(STATES)  # of the states of interrupted stages


def upgrade(raw: Mapping[str, Any], steps: Sequence[Step] = CONFIGS, *, name: str = "configuration") -> Form:
    """The mapping in today's form, without its version; what changed is logged.

    `ValueError` where it is of a newer version than this code knows, or its version is none.
    """
    found = version_of(raw, steps, name)
    before = {key: value for key, value in raw.items() if key != KEY}
    after = before
    for step in steps[found:]:
        after = step(after)
    if gone := list(removed(before, after)):
        log.info("%s is of version %d: %s left out", name, found, ", ".join(".".join(path) for path in gone))
    return after


def version_of(raw: Mapping[str, Any], steps: Sequence[Step] = CONFIGS, name: str = "configuration") -> int:
    """The version that a mapping says; 0 where it says none."""
    found = raw.get(KEY, 0)
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise ValueError(f"{name}: version: {found!r} is no whole number from 0 to {len(steps)}")
    if found > len(steps):
        raise ValueError(f"{name}: version {found} is newer than this anyx knows (up to {len(steps)}): update anyx")
    return found


def removed(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of keys that are in one nested mapping and not in the other."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key, value in old.items():
            if key not in new:
                yield (*path, str(key))
            else:
                yield from removed(value, new[key], (*path, str(key)))


def rewritten(text: str, name: str = "configuration") -> str:
    """The text of a YAML in today's form; comments stay wherever keys were only left out."""
    old = yaml.safe_load(text)
    if not isinstance(old, Mapping):
        raise ValueError(f"{name}: a configuration is a mapping, but {type(old).__name__} was found")
    new = {KEY: CURRENT, **upgrade(old, name=name)}
    if old.get(KEY) == CURRENT:
        return text
    made = text
    for path in ((KEY,), *removed(old, new)):
        made = cut(made, path)
    lines = made.splitlines(keepends=True)
    start = next((index for index, line in enumerate(lines) if line.strip() and not line.startswith(("#", "---"))), 0)
    made = "".join([*lines[:start], f"{KEY}: {CURRENT}\n", *lines[start:]])
    try:
        if yaml.safe_load(made) == new:
            return made
    except yaml.YAMLError:
        pass
    return str(yaml.safe_dump(new, sort_keys=False, allow_unicode=True))


def cut(text: str, path: Sequence[str]) -> str:
    """The text of a YAML without one key and what it holds."""
    node: Any = yaml.compose(text)
    for depth, name in enumerate(path):
        pairs = {key.value: (key, value) for key, value in node.value} if isinstance(node, yaml.MappingNode) else {}
        if name not in pairs:
            return text
        key, value = pairs[name]
        if depth < len(path) - 1:
            node = value
            continue
        start, end = key.start_mark.index, value.end_mark.index
        if node.flow_style:  # {a: 1, b: 2}: one of its commas goes too
            after, before = text[end:], text[:start].rstrip()
            if after.lstrip().startswith(","):
                return text[:start] + after.lstrip()[1:].lstrip()
            return before.removesuffix(",") + after
        line = text.rfind("\n", 0, start) + 1
        rest = text.find("\n", end) + 1 if text[end - 1] != "\n" else end
        return text[:line] + text[rest or len(text) :]
    return text
