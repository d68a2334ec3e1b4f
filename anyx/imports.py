"""Objects that a YAML names: `module:name`, or `file.py:name` beside the YAML."""

from __future__ import annotations

import hashlib
import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


def find(name: str, key: str, folder: Path | None = None) -> Any:
    """The object that `module:name` or `file.py:name` names; files are looked up in `folder`, errors name the key."""
    place, _, attribute = name.rpartition(":")
    try:
        module = import_file((folder or Path()) / place) if place.endswith(".py") else import_module(place)
        return getattr(module, attribute)
    except (ImportError, AttributeError, ValueError, OSError) as error:
        raise ValueError(f"{key}: {name!r} cannot be imported as 'module:name' or 'file.py:name': {error}") from error


def import_file(path: str | Path) -> ModuleType:
    """A Python file as a module, once."""
    path = Path(path).resolve()
    if not path.is_file():
        raise ValueError(f"there is no Python file {path}")
    name = f"anyx_file_{hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
