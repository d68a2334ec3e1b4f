"""What a tool takes: read off a function's signature, written as JSON for a model or another machine, and checked.

A parameter is a string, an integer, a number, a boolean, a list of one of these, a list of lists of numbers (boxes),
one of some words (`Literal`), or a medium: `Image`, `Audio`, `Video`, `Series`, which a model names by its handle. An
`Annotated` string says what it is for. The first paragraph of the docstring says what the tool does.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from anyx.media import MEDIA
from anyx.signatures import closest, hints_of
from anyx.watching import Watch

KINDS = {kind: key for key, kind in MEDIA.items()}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
LONGEST = 4096  # characters of a string, items of a list


@dataclass(frozen=True)
class Parameter:
    """One parameter: its JSON Schema, and whether it must be given. A medium has the schema's `format`."""

    name: str
    schema: Mapping[str, Any]
    required: bool = True

    @property
    def medium(self) -> str | None:
        """The kind of a medium; None of anything else."""
        kind = self.schema.get("format")
        return kind if kind in MEDIA else None


@dataclass(frozen=True)
class Spec:
    """A tool's name, what it does, and its parameters."""

    name: str
    description: str
    parameters: tuple[Parameter, ...] = field(default=())

    def plain(self) -> dict[str, Any]:
        """The spec as JSON, in the form that function calling has made usual."""
        properties = {one.name: dict(one.schema) for one in self.parameters}
        required = [one.name for one in self.parameters if one.required]
        schema = {"type": "object", "properties": properties, "required": required}
        return {"name": self.name, "description": self.description, "parameters": schema}

    @classmethod
    def read(cls, given: Any) -> Spec:
        """The spec that `plain` wrote; ValueError where it is none, since it may come from another machine."""
        try:
            schema, name, does = given["parameters"], given["name"], given["description"]
            listed = list(schema["properties"].items())
            found = [(str(key), known(one), key in schema["required"]) for key, one in listed]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"a tool has name, description and parameters, but {str(given)[:200]} was given"
            ) from error
        if not (isinstance(name, str) and name.isidentifier() and isinstance(does, str)):
            raise ValueError(f"a tool's name is a word of letters, digits and _, but {str(name)[:80]!r} was given")
        return cls(name, does[:LONGEST], tuple(Parameter(*one) for one in found))

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments as the tool takes them, media left as their handles; one ValueError with all that is wrong."""
        by_name = {one.name: one for one in self.parameters}
        errors = [f"there is no {key!r}.{closest(key, by_name)}" for key in given if key not in by_name]
        made = {}
        for name, one in by_name.items():
            if name not in given:
                if one.required:
                    errors.append(f"{name!r} is missing")
                continue
            try:
                made[name] = given[name] if one.medium else fitted(given[name], one.schema)
            except ValueError as error:
                errors.append(f"{name!r} {error}")
        if errors:
            raise ValueError(f"{self.name} takes {', '.join(by_name) or 'nothing'}: {'; '.join(errors)}")
        return made


def known(schema: Any, depth: int = 0) -> dict[str, Any]:
    """A parameter's schema as far as it is read here; ValueError for one of another form."""
    names = ("type", "format", "description")
    made = {key: schema[key] for key in (*names, "enum", "items", "default") if key in schema}
    words = [*(made[key] for key in names if key in made), *made.get("enum", ())]
    if made.get("type") not in ("array", *PLAIN.values()) or not all(isinstance(word, str) for word in words):
        raise ValueError("a parameter has a type and words")
    if "items" in made:
        made["items"] = known(made["items"], depth + 1) if depth < 3 else {"type": "string"}
    return made


def spec_of(function: Callable[..., Any], name: str | None = None) -> Spec:
    """The spec of a function; a parameter annotated `Watch` is no part of it. ValueError for other annotations."""
    called = name or function.__name__
    if not called.isidentifier():
        raise ValueError(f"tools: a tool's name is a word of letters, digits and _, but {called!r} was given")
    does = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").strip()
    if not does:
        raise ValueError(f"tools.{called}: the function has no docstring, which tells the model what it does")
    hints, found = hints_of(function), []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.annotation is not parameter.empty and parameter.name not in hints:
            raise ValueError(f"tools.{called}: its annotations name what cannot be found from its module")
        hint = hints.get(parameter.name, str)
        if hint is Watch:
            continue
        try:
            schema = schema_of(hint)
        except ValueError as error:
            raise ValueError(f"tools.{called}.{parameter.name}: {error}") from None
        required = parameter.default is parameter.empty
        if not required and parameter.default is not None and not isinstance(parameter.default, tuple | list):
            schema["default"] = parameter.default
        found.append(Parameter(parameter.name, schema, required))
    return Spec(called, does, tuple(found))


def schema_of(hint: Any) -> dict[str, Any]:
    """The JSON Schema of an annotation."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        said = [one for one in inner[1:] if isinstance(one, str)]
        return schema_of(inner[0]) | ({"description": said[0]} if said else {})
    if origin in (Union, types.UnionType):
        rest = [one for one in inner if one is not type(None)]
        if len(rest) == 1:
            return schema_of(rest[0])
    if origin is Literal:
        return {"type": "string", "enum": list(inner)}
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if hint in KINDS:
        return {"type": "string", "format": KINDS[hint]}
    if isinstance(origin, type) and issubclass(origin, Sequence) and inner:
        return {"type": "array", "items": schema_of(inner[0])}
    allowed = "str, int, float, bool, Literal, lists of these, and media"
    raise ValueError(f"an annotation of {hint!r} was given; allowed: {allowed}")


def fitted(value: Any, schema: Mapping[str, Any], depth: int = 0) -> Any:
    """A value of a schema; numbers that a model wrote in quotes are read. ValueError that says what is wanted."""
    wanted = schema.get("type")
    if wanted == "array" and isinstance(value, list | tuple) and depth < 3:
        if len(value) > LONGEST:
            raise ValueError(f"has {len(value)} items; {LONGEST} at most")
        return [fitted(one, schema.get("items", {}), depth + 1) for one in value]
    if wanted in ("integer", "number"):
        try:
            if isinstance(value, str | int | float) and not isinstance(value, bool) and len(str(value)) < 40:
                number = float(value)
                if math.isfinite(number) and (wanted == "number" or number == int(number)):
                    return int(number) if wanted == "integer" else number
        except ValueError:
            pass
    elif wanted == "boolean" and isinstance(value, bool):
        return value
    elif wanted == "string" and isinstance(value, str) and value in schema.get("enum", (value,)):
        if len(value) > LONGEST:
            raise ValueError(f"has {len(value)} characters; {LONGEST} at most")
        return value
    kinds = ", ".join(map(str, schema["enum"])) if "enum" in schema else f"{wanted}"
    raise ValueError(f"must be {'one of ' if 'enum' in schema else ''}{kinds}, but {str(value)[:80]!r} was given")
