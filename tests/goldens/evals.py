"""Golden cases of the evaluation metrics: JSON files of inputs and the scores that a published scorer gave them.

`ANYX_EVAL_GOLDENS` names the folder that holds `mme.json`, ...; default: `data/eval.zip` beside this file, whose
`SOURCE` says what made each file. A set that is named but is not there fails every test that reads it, and skips none.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SHIPPED = Path(__file__).parent / "data" / "eval.zip"
VARIABLE = "ANYX_EVAL_GOLDENS"


def _text(name: str) -> str:
    """The text of `name.json`; a ValueError of one line where the set has none."""
    named = os.environ.get(VARIABLE)
    if named is None:
        with zipfile.ZipFile(SHIPPED) as shipped:
            return shipped.read(f"{name}.json").decode()
    folder = Path(named)
    if not any(folder.glob("*.json")):
        raise ValueError(f"{VARIABLE} names {named!r}, which holds no golden file: name the folder that holds mme.json")
    if not (folder / f"{name}.json").is_file():
        raise ValueError(f"{VARIABLE} names {named!r}, which has no {name}.json")
    return (folder / f"{name}.json").read_text(encoding="utf-8")


def _empty(part: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The keys of mappings, and of those in them, under which nothing is; a row may hold nothing at a key."""
    for key, value in part.items():
        if value in ([], {}):
            yield f"{above}{key}"
        elif isinstance(value, Mapping):
            yield from _empty(value, f"{above}{key}.")


@cache
def _read(name: str) -> Any:
    """The content of `name.json`; a ValueError where a part is empty, for pytest skips a test of no cases."""
    found = json.loads(_text(name))
    if empty := list(_empty(found)):
        raise ValueError(f"{name}.json of {os.environ.get(VARIABLE, SHIPPED.name)!r} has nothing in {', '.join(empty)}")
    return found


def golden(name: str) -> dict[str, Any]:
    """The content of `name.json`; fails the test in one line where the set that is named has none."""
    try:
        return _read(name)
    except ValueError as error:
        missing = str(error)
    pytest.fail(missing, pytrace=False)


def keys(name: str, *path: str) -> list[Any]:
    """What to parametrise a test by: places in a list (0, 1, ...) or keys of a mapping, found along `path` in the file.

    Where there is no such file, one place that stands for none: the test asks `golden(name)` first, which fails it.
    """
    try:
        found = _read(name)
    except ValueError:
        return [pytest.param(None, id=f"no {name}")]
    for step in path:
        found = found[step]
    return list(found) if isinstance(found, Mapping) else list(range(len(found)))


def tolerance(name: str) -> float:
    """The absolute tolerance that the file states, 1e-6 where it states none."""
    return float(golden(name).get("tolerance", 1e-6))
