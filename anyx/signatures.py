"""How the mappings of a YAML are held against signatures: unknown keys, missing keys, values that misfit.

The schema of a component is the keyword-only part of its `__init__`, that of a loss or a source its parameters, that of
a section of a YAML a dataclass. Errors are collected, in the voice
`encoders.image.layr: Key 'layr' not in 'ClipEncoder'. Did you mean: 'layer'?`
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

SCALARS: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,), Path: (str,)}


@dataclasses.dataclass(frozen=True)
class Least:
    """In an `Annotated` number: the smallest that is allowed."""

    value: float

    def __str__(self) -> str:
        return f">= {self.value:g}"


Count = Annotated[int, Least(1)]
Amount = Annotated[float, Least(0)]


class Errors(list[str]):
    """Lines `path: what is wrong`."""

    def add(self, path: str, text: str) -> None:
        """Note one error."""
        self.append(f"{path}: {text}" if path else text)


def entries(value: Any) -> Iterator[tuple[str, Any]]:
    """The items of a mapping; none of anything else, which is an error noted elsewhere."""
    yield from ((str(key), item) for key, item in value.items()) if isinstance(value, Mapping) else ()


def check_keywords(
    errors: Errors,
    path: str,
    given: Mapping[str, Any],
    function: Callable[..., Any],
    *,
    wired: bool = True,
    also: Mapping[str, Any] | None = None,
) -> None:
    """Hold keyword arguments against a class or function; `also` allows more keys, with their annotations.

    With `wired`, positional parameters without a default are wired, not given.
    """
    parameters = inspect.signature(function).parameters.values()
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    keywords = [one for one in named if not wired or one.kind is one.KEYWORD_ONLY or one.default is not one.empty]
    known = hints_of(vars(function).get("__init__", function))
    hints = {keyword.name: known.get(keyword.name, Any) for keyword in keywords} | dict(also or {})
    required = [keyword.name for keyword in keywords if keyword.default is keyword.empty]
    _check(errors, path, given, hints, required, function.__name__)


def require(path: str, given: Mapping[str, Any], function: Callable[..., Any]) -> None:
    """Refuse keyword arguments that a class or function does not take, by one ValueError."""
    errors = Errors()
    check_keywords(errors, path, given, function)
    if errors:
        raise ValueError("; ".join(errors))


def check_fields(errors: Errors, path: str, value: Any, cls: type, *, skip: Collection[str] = ()) -> dict[str, Any]:
    """Hold a section against a dataclass; returns it without unknown keys."""
    if not isinstance(value, Mapping):
        errors.add(path, f"must be a mapping, but {value!r} was given")
        return {}
    fields = [field for field in dataclasses.fields(cls) if field.name not in skip]
    missing = dataclasses.MISSING
    required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    hints = hints_of(cls)
    owner = cls.__name__.removesuffix("Config").lower() or "config"
    _check(errors, path, value, {field.name: hints[field.name] for field in fields}, required, owner)
    return {field.name: value[field.name] for field in fields if field.name in value}


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function or a dataclass; none where they name what only type checkers import."""
    try:
        return get_type_hints(function, include_extras=True)
    except NameError:
        return {}


def closest(key: str, allowed: Collection[str]) -> str:
    """A suggestion to append to an error, if one key is near."""
    return "".join(f" Did you mean: {match!r}?" for match in get_close_matches(str(key), allowed, 1))


def _check(
    errors: Errors, path: str, given: Mapping[str, Any], hints: Mapping[str, Any], required: Collection[str], owner: str
) -> None:
    for key, value in given.items():
        here = f"{path}.{key}" if path else str(key)
        if key in hints:
            check_value(errors, here, value, hints[key])
        else:
            errors.add(here, f"Key {key!r} not in {owner!r}.{closest(key, hints)}")
    for key in required:
        if key not in given:
            errors.add(f"{path}.{key}" if path else key, f"is missing; {owner!r} requires it")


def check_value(errors: Errors, path: str, value: Any, hint: Any) -> None:
    """Hold one value against an annotation; what misfits inside a mapping is named by its key."""
    inner = [get_args(part)[1] for part in _union(hint) if _is(part, Mapping)]
    if inner and isinstance(value, Mapping):
        for key, item in value.items():
            check_value(errors, f"{path}.{key}", item, inner[0])
    elif not fits(value, hint):
        errors.add(path, _misfit(value, hint))


def fits(value: Any, hint: Any) -> bool:
    """Whether a YAML's value can stand for an annotation; sections and classes of our own are checked elsewhere."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Annotated:
        least = [mark.value for mark in arguments[1:] if isinstance(mark, Least)]
        return fits(value, arguments[0]) and all(value >= number for number in least)
    if origin is Literal:
        return value in arguments
    if hint is type(None):
        return value is None
    if hint in SCALARS:
        return isinstance(value, SCALARS[hint]) and (hint is bool or not isinstance(value, bool))
    if _is(hint, Mapping):
        return isinstance(value, Mapping) and all(fits(item, arguments[1]) for item in value.values())
    if _is(hint, Collection):
        return isinstance(value, list | tuple) and all(fits(item, arguments[0]) for item in value)
    return True


def _union(hint: Any) -> tuple[Any, ...]:
    """The alternatives of an annotation."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is(hint: Any, kind: type) -> bool:
    """Whether an annotation is a generic of a kind, as `Mapping[str, int]` is of `Mapping`."""
    origin = get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, kind)


def _misfit(value: Any, hint: Any) -> str:
    choices = [str(choice) for part in _union(hint) if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        return f"{value!r} is not one of {', '.join(choices)}"
    return f"must be {' or '.join(map(_word, _union(hint)))}, but {value!r} was given"


def _word(hint: Any) -> str:
    """An annotation in the words of a YAML."""
    if hint is type(None):
        return "null"
    if get_origin(hint) is Annotated:
        return " ".join((_word(get_args(hint)[0]), *map(str, get_args(hint)[1:])))
    if _is(hint, Mapping):
        return "a mapping"
    if _is(hint, Collection):
        return f"a list of {_word(get_args(hint)[0])}"
    return {Path: "a path"}.get(hint) or (hint.__name__ if isinstance(hint, type) else str(hint))
