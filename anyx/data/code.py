"""What code is: digests of the source that computes a value, so that a cache knows when another code would compute it.

Comments, docstrings and layout do not count. Code is followed through its imports: of a module within its package, of
a lone file to the files beside it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any


def code_of(component: Any) -> str:
    """A digest of the module that a class, function or value comes from, and of what it imports of its package."""
    while isinstance(component, partial):
        component = component.func
    return _digest_of_module(component.__module__)


@cache
def identity_of(function: Any) -> str:
    """A function's name and a digest of its file and of the files beside it that it may call."""
    return f"{function.__qualname__}/{_digest(within_reach(Path(inspect.getfile(function))))}"


def within_reach(file: Path) -> list[Path]:
    """A Python file and those beside it that it imports or names in a string, and so on from there."""
    found, todo = {file}, [file]
    while todo:
        names: set[str] = set()
        for node in ast.walk(_tree(todo.pop())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names |= {node.module or "", *(alias.name for alias in node.names)}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(node.value)
        stems = {part for name in names for part in (name, name.removesuffix(".py"), name.rpartition(".")[2])}
        new = {other for other in file.parent.glob("*.py") if other.stem in stems} - found
        found |= new
        todo += new
    return sorted(found)


def imported(module: str) -> dict[str, Path]:
    """The modules that a module imports, directly or not, and itself: those of its own top-level package.

    The `__init__` files of packages are left out: they gather names and compute nothing.
    """
    found: dict[str, Path] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        file = None if name in found else _file_of(name)
        if file is not None:
            found[name] = file
            todo += [other for other in _imports(file, name) if other.split(".")[0] == module.split(".")[0]]
    return found


@cache
def _digest_of_module(module: str) -> str:
    files = [file for _, file in sorted(imported(module).items())]
    if "." not in module:
        files = [other for file in files for other in within_reach(file)]
    return _digest(files) if files else module  # it was typed in, or built in: its name is all there is


def _digest(files: list[Path]) -> str:
    state = hashlib.blake2b(digest_size=20)
    for file in files:
        state.update(ast.dump(_bare(_tree(file))).encode())
    return state.hexdigest()


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return tree


def _file_of(module: str) -> Path | None:
    """The Python file of a module; None for packages, for what is not Python, and for what is not there."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None or spec.submodule_search_locations is not None or not (spec.origin or "").endswith(".py"):
        return None
    return Path(str(spec.origin))


def _imports(file: Path, module: str) -> Iterator[str]:
    """Every name that a file may import as a module, in full."""
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
