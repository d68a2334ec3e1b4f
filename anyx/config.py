"""A YAML and `a.b=c` overrides -> a checked `Config`, with every error named at once and before any weight is read.

A component is written `{type: name, **keywords}`; the keyword-only parameters of the class that `registry.py` finds
under the name are its schema. Positional parameters (widths) are wired by `build.py`. The options of a loss and of a
source are the parameters of the function or class behind its name; `Names` in an annotation says what an option names.
How files are merged is said in `yamls.py`.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from anyx import migrations, registry, yamls
from anyx.imports import find
from anyx.interfaces import Encoder, InputProjector, TextTeacher
from anyx.sampling import RANGES, Sampling, misfits
from anyx.schema import Card, Input, LLMConfig, Logged, Node, Output, Source, Stage, Validate
from anyx.signatures import Errors, check_fields, check_keywords, check_value, closest, entries, hints_of
from anyx.wiring import check_template, component, input_port, language_model, output_port, section, source
from anyx.yamls import ConfigError, read

__all__ = ["Config", "ConfigError", "check", "load", "parts", "read"]

DECODER_PARTS = ("vae", "denoiser", "motion", "text", "vocoder")


@dataclasses.dataclass(frozen=True)
class Names:
    """In the annotation of a loss's option: it names keys of these sections of the YAML, or one of `also`."""

    sections: Sequence[str]
    also: Sequence[str] = ()

    def __str__(self) -> str:
        return f"of {' or '.join((*self.sections, *self.also))}"

    def known(self, config: Config) -> list[str]:
        """The names that a configuration has."""
        return list(dict.fromkeys((*(key for section in self.sections for key in vars(config)[section]), *self.also)))


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole checked configuration; `raw` is the resolved YAML it came from."""

    llm: LLMConfig | None = None
    encoders: Mapping[str, Node] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, Input] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, Output] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, Stage] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    sampling: Sampling = dataclasses.field(default_factory=Sampling)
    card: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    logger: Sequence[Logged] = ("tensorboard",)
    raw: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_yaml(self) -> str:
        """The resolved YAML, with the version of its form."""
        return yamls.dump({migrations.KEY: migrations.CURRENT, **self.raw})


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge and check a YAML."""
    return check(read(path, overrides))


def check(raw: Mapping[str, Any]) -> Config:
    """A plain mapping as a `Config`; raises `ConfigError` with everything that is wrong."""
    raw = yamls.resolve(raw)
    if migrations.KEY in raw:  # what was read from a file has been brought up to date, and says none
        raw = yamls.upgraded(raw, "configuration")
    errors = Errors()
    check_fields(errors, "", raw, Config, skip=("raw",))
    llm = language_model(errors, raw.get("llm"), [key for key, node in entries(raw.get("inputs")) if node is not None])
    sections = {name: section(errors, name, raw.get(name)) for name in ("encoders", "inputs", "outputs")}
    encoders = {
        key: component(errors, f"encoders.{key}", "encoders", node) for key, node in sections["encoders"].items()
    }
    inputs = {key: input_port(errors, key, sections["inputs"], encoders, llm) for key in sections["inputs"]}
    for name, node in (llm.adapters if llm else {}).items():
        hears = node.cls is not object and node.cls.hears
        if hears and not any(name in port.adapters for port in inputs.values()):
            errors.add(f"llm.adapters.{name}", "no input goes into it; name it in an input's `into`")
    outputs = {key: output_port(errors, key, sections["outputs"], llm) for key in sections["outputs"]}
    data = {key: node for key, node in entries(raw.get("data")) if node is not None}
    for key, node in data.items():
        source(errors, f"data.{key}", node, hints_of(Source))
    sampling = sampling_of(errors, raw.get("sampling"))
    card = check_fields(errors, "card", raw.get("card") or {}, Card)
    logger = raw.get("logger", ("tensorboard",))
    config = Config(llm, encoders, inputs, outputs, {}, data, raw.get("seed", 0), sampling, card, logger, raw)
    stages = {key: _stage(errors, key, node, config) for key, node in entries(raw.get("stages")) if node is not None}
    if errors:
        raise ConfigError(errors)
    return dataclasses.replace(config, stages=stages)


def sampling_of(errors: Errors, given: Any) -> Sampling:
    """How the model's next token is chosen unless a caller says otherwise."""
    if given is not None and not isinstance(given, Mapping):
        errors.add("sampling", f"must be a mapping, but {given!r} was given")
    said = dict(entries(given))
    for name in said.keys() - RANGES.keys():
        errors.add(f"sampling.{name}", f"Key {name!r} not in 'sampling'.{closest(name, RANGES)}")
    known = {name: value for name, value in said.items() if name in RANGES}
    wrong = dict(misfits(known))
    for name, told in wrong.items():
        errors.add(f"sampling.{name}", told)
    return Sampling(**{name: value for name, value in known.items() if name not in wrong})


def parts(config: Config) -> Iterator[str]:
    """The names of all parts that a stage of this configuration might train."""
    if config.llm:
        yield from ("llm.lora",) if config.llm.lora else ()
        yield from ("llm.signal_tokens",) if config.outputs or config.llm.added_tokens else ()
        yield from ("llm.body", "llm.body.tables")
        yield from (f"llm.adapters.{name}" for name in config.llm.adapters)
    for name, encoder in config.encoders.items():
        yield f"encoders.{name}"
        within = encoder.cls.parts if issubclass(encoder.cls, Encoder) else ()
        yield from (f"encoders.{name}.{part}" for part in within)
    for key, port in config.inputs.items():
        if isinstance(port.projector, Node):
            yield f"inputs.{key}.projector"
            within = port.projector.cls.parts if issubclass(port.projector.cls, InputProjector) else ()
            yield from (f"inputs.{key}.projector.{name}" for name in within)
    for key, output in config.outputs.items():
        if isinstance(output.projector, Node):
            yield f"outputs.{key}.projector"
        yield from (f"outputs.{key}.decoder.{part}" for part in DECODER_PARTS)


def _losses(errors: Errors, path: str, losses: Any, config: Config) -> None:
    table, refusal = find(registry.LOSSES, path), find(registry.REFUSAL, path)
    for name, value in entries(losses):
        here = f"{path}.{name}"
        if name not in table:
            errors.add(here, f"{name!r} is not one of {', '.join(table)}")
            continue
        given = value if isinstance(value, Mapping) else {"weight": value}
        check_keywords(errors, here, given, table[name], also={"weight": float})
        if refused := refusal(name, config.llm is not None):
            errors.add(here, refused)
            continue
        for option, hint in hints_of(table[name]).items():
            _names(errors, f"{here}.{option}", given.get(option), hint, config)
        if name == "caption":
            _teachers(errors, here, given.get("keys"), config.outputs)


def _names(errors: Errors, path: str, value: Any, hint: Any, config: Config) -> None:
    """Hold the names in a value, where its annotation says what they are, against those that the configuration has."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        for part in inner:
            _names(errors, path, value, part, config)
    elif origin is Annotated and isinstance(value, str):
        for mark in (mark for mark in inner if isinstance(mark, Names)):
            known = mark.known(config)
            if value not in known:
                errors.add(path, f"{value!r} is not one of {', '.join(known) or f'no {mark.sections[0]}'}")
    elif origin is Mapping:
        for key, item in entries(value):
            _names(errors, f"{path}.{key}", key, inner[0], config)
            _names(errors, f"{path}.{key}", item, inner[1], config)
    elif origin in (Sequence, tuple) and isinstance(value, list | tuple):
        if origin is tuple and len(value) != len(inner):
            errors.add(path, f"must be {len(inner)} names, but {value!r} was given")
        elif not value:
            errors.add(path, "nothing is named")
        for item in value:
            _names(errors, path, item, inner[0], config)


def _teachers(errors: Errors, path: str, keys: Any, outputs: Mapping[str, Output]) -> None:
    for key, output in outputs.items():
        wanted = not isinstance(keys, list | tuple) or key in keys
        if wanted and output.decoder.cls is not object and not issubclass(output.decoder.cls, TextTeacher):
            text = f"outputs.{key}.decoder {output.decoder.type!r} has no text encoder to learn from"
            errors.add(path, f"{text}; name others by `keys`, or use 'denoise' instead")


def _data(errors: Errors, path: str, named: Any, config: Config) -> None:
    """Sources with their weights: names of the section `data`, or whole sources."""
    for name, value in entries(named):
        here = f"{path}.{name}"
        if isinstance(value, Mapping):
            source(errors, here, {"type": "jsonl", **value}, hints_of(Source) | {"weight": float})
        elif name in config.data:
            check_value(errors, here, value, float)
        else:
            errors.add(here, f"{name!r} is not one of {', '.join(config.data) or 'no data'}")


def _stage(errors: Errors, key: str, node: Any, config: Config) -> Stage:
    path = f"stages.{key}"
    given = check_fields(errors, path, node, Stage, skip=("name",))
    known = list(parts(config))
    for name in ("train", "losses", "data"):
        if given.get(name) == {}:
            errors.add(f"{path}.{name}", "nothing is named")
    for glob, _ in entries(given.get("train")):
        if not any(fnmatchcase(part, glob) for part in known):
            errors.add(f"{path}.train", f"{glob!r} names nothing; the parts are {', '.join(known)}")
    _losses(errors, f"{path}.losses", given.get("losses"), config)
    _data(errors, f"{path}.data", given.get("data"), config)
    if given.get("validate") is not None:
        held = check_fields(errors, f"{path}.validate", given["validate"], Validate)
        _data(errors, f"{path}.validate.data", held.get("data"), config)
        metrics = ["loss", *dict(entries(given.get("losses")))]
        if held.get("metric", "loss") not in metrics:
            errors.add(f"{path}.validate.metric", f"{held['metric']!r} is not one of {', '.join(metrics)}")
    if given.get("tokens") is not None and config.llm is None:
        errors.add(f"{path}.tokens", "these are an LLM's positions, and there is none; give batch_size alone")
    check_template(errors, f"{path}.template", given.get("template"), config.inputs)
    if given and (given.get("steps") is None) == (given.get("epochs") is None):
        errors.add(path, "give either steps or epochs")
    return Stage(key, **{"train": {}, "losses": {}, "data": {}, "seed": config.seed, **given})
