"""The sections of a YAML, and how mappings are held against signatures: unknown keys, missing keys, values that misfit.

The schema of a component is the keyword-only part of its `__init__`; that of a section of a YAML is a dataclass. Errors
are collected, in the voice `encoders.image.layr: Key 'layr' not in 'ClipEncoder'. Did you mean: 'layer'?`
"""

from __future__ import annotations

import builtins
import dataclasses
import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

DType = Literal["float32", "bfloat16", "float16"]
SCALARS: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,), bool: (bool,)}


@dataclasses.dataclass(frozen=True)
class Node:
    """A component: its registered name, its class, its keyword arguments."""

    type: str
    cls: builtins.type[Any]
    kwargs: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Share:
    """The projector of another port of the same side, by its path, such as `outputs.<key>.projector`."""

    share: str

    @property
    def key(self) -> str:
        """The key of the port whose projector it is."""
        return self.share.split(".")[1]


@dataclasses.dataclass(frozen=True)
class LLMConfig:
    """The language model: a folder or Hub id, and how it is loaded. `template` is a name or a whole template.

    A mapping as `path` is a transformers configuration (`model_type` and sizes) of random weights; `tokenizer` is then
    the folder of one.
    """

    path: str | Mapping[str, Any]
    lora: Mapping[str, Any] | None = None
    template: str | Mapping[str, Any] = "chatml"
    dtype: DType = "float32"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    tokenizer: str | None = None


@dataclasses.dataclass(frozen=True)
class Input:
    """What the model reads under a key: which encoder, which projector (none without an LLM), which kind of media."""

    encoder: str
    projector: Node | Share | None = None
    media: str = ""
    into: Literal["sequence"] = "sequence"


@dataclasses.dataclass(frozen=True)
class Output:
    """What the model produces under a key: `tokens` signal tokens, the projector (none without an LLM), the decoder."""

    decoder: Node
    projector: Node | Share | None = None
    tokens: int = 1
    media: str = ""


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """What learns (glob over parts -> learning rate), from which losses (name -> weight or {kind, weight}), on what.

    `data` maps names of the YAML's `data` to weights, or to whole sources. What each setting does is said where it is
    read, in `training/stage.py`.
    """

    train: Mapping[str, float]
    losses: Mapping[str, Any]
    data: Mapping[str, Any]
    steps: int | None = None
    epochs: float | None = None
    minutes: float | None = None
    batch_size: int = 8
    accumulate: int = 1
    weight_decay: float = 0.0
    betas: Sequence[float] = (0.9, 0.999)
    warmup: float = 0.03
    schedule: Literal["cosine", "constant"] = "cosine"
    clip: float | None = 1.0
    ema: float | None = None
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    bucket: bool = True
    workers: int | None = None
    cache: bool = True
    log_every: int = 10
    save_every: int | None = None
    save_minutes: float = 10.0
    seed: int | None = None
    init: str | None = None


class Errors(list[str]):
    """Lines `path: what is wrong`."""

    def add(self, path: str, text: str) -> None:
        """Note one error."""
        self.append(f"{path}: {text}" if path else text)


def mapping_at(errors: Errors, path: str, value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping; else an error and an empty one."""
    if isinstance(value, Mapping):
        return value
    errors.add(path, f"must be a mapping, but {value!r} was given")
    return {}


def check_keywords(errors: Errors, path: str, given: Mapping[str, Any], cls: type) -> None:
    """Hold keyword arguments against a class; positional parameters without a default are wired, not given."""
    parameters = inspect.signature(cls).parameters.values()
    keywords = [one for one in parameters if one.kind is one.KEYWORD_ONLY or one.default is not one.empty]
    known = get_type_hints(vars(cls)["__init__"]) if "__init__" in vars(cls) else {}
    hints = {keyword.name: known.get(keyword.name, Any) for keyword in keywords}
    required = [keyword.name for keyword in keywords if keyword.default is keyword.empty]
    _check(errors, path, given, hints, required, cls.__name__)


def check_fields(errors: Errors, path: str, value: Any, cls: type, *, skip: Collection[str] = ()) -> dict[str, Any]:
    """Hold a section against a dataclass; returns it without unknown keys."""
    given = mapping_at(errors, path, value)
    fields = [field for field in dataclasses.fields(cls) if field.name not in skip]
    missing = dataclasses.MISSING
    required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
    hints = get_type_hints(cls)
    name = path.split(".")[0].removesuffix("s") or "config"
    _check(errors, path, given, {field.name: hints[field.name] for field in fields}, required, name)
    return {field.name: given[field.name] for field in fields if field.name in given}


def closest(key: str, allowed: Collection[str]) -> str:
    """A suggestion to append to an error, if one key is near."""
    return "".join(f" Did you mean: {match!r}?" for match in get_close_matches(str(key), allowed, 1))


def _check(
    errors: Errors, path: str, given: Mapping[str, Any], hints: Mapping[str, Any], required: Collection[str], owner: str
) -> None:
    for key, value in given.items():
        here = f"{path}.{key}" if path else str(key)
        if key not in hints:
            errors.add(here, f"Key {key!r} not in {owner!r}.{closest(key, hints)}")
        elif not fits(value, hints[key]):
            errors.add(here, _misfit(value, hints[key]))
    for key in required:
        if key not in given:
            errors.add(f"{path}.{key}" if path else key, f"is missing; {owner!r} requires it")


def fits(value: Any, hint: Any) -> bool:
    """Whether a YAML's value can stand for an annotation; sections and classes of our own are checked elsewhere."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if hint is type(None):
        return value is None
    if hint in SCALARS:
        return isinstance(value, SCALARS[hint]) and (hint is bool or not isinstance(value, bool))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if isinstance(origin, type) and issubclass(origin, Collection):
        return isinstance(value, list | tuple)
    return True


def _misfit(value: Any, hint: Any) -> str:
    union = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices = [str(choice) for part in union if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        return f"{value!r} is not one of {', '.join(choices)}"
    names = [part.__name__ if isinstance(part, type) else str(part) for part in union]
    wanted = " or ".join(names).replace("NoneType", "null").replace("collections.abc.", "")
    return f"must be {wanted}, but {value!r} was given"
