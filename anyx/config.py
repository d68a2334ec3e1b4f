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

from anyx import registry, yamls
from anyx.imports import find
from anyx.interfaces import InputProjector, TextTeacher
from anyx.media import MEDIA
from anyx.schema import Input, LLMConfig, Lora, Node, Output, Share, Source, Stage
from anyx.signatures import Errors, check_fields, check_keywords, check_value, entries, hints_of
from anyx.templates import SECTIONS, TEMPLATES, Template
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
    raw: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_yaml(self) -> str:
        """The resolved YAML."""
        return yamls.dump(self.raw)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge and check a YAML."""
    return check(read(path, overrides))


def check(raw: Mapping[str, Any]) -> Config:
    """A plain mapping as a `Config`; raises `ConfigError` with everything that is wrong."""
    raw = yamls.resolve(raw)
    errors = Errors()
    check_fields(errors, "", raw, Config, skip=("raw",))
    llm = _llm(errors, raw.get("llm"))
    sections = {name: _section(errors, name, raw.get(name)) for name in ("encoders", "inputs", "outputs")}
    encoders = {key: _node(errors, f"encoders.{key}", "encoders", node) for key, node in sections["encoders"].items()}
    inputs = {key: _input(errors, key, sections["inputs"], encoders, llm) for key in sections["inputs"]}
    for name, node in (llm.adapters if llm else {}).items():
        hears = node.cls is not object and node.cls.hears
        if hears and not any(name in port.adapters for port in inputs.values()):
            errors.add(f"llm.adapters.{name}", "no input goes into it; name it in an input's `into`")
    outputs = {key: _output(errors, key, sections["outputs"], llm) for key in sections["outputs"]}
    data = {key: node for key, node in entries(raw.get("data")) if node is not None}
    for key, node in data.items():
        _source(errors, f"data.{key}", node, hints_of(Source))
    config = Config(llm, encoders, inputs, outputs, {}, data, raw.get("seed", 0), raw)
    stages = {key: _stage(errors, key, node, config) for key, node in entries(raw.get("stages")) if node is not None}
    if errors:
        raise ConfigError(errors)
    return dataclasses.replace(config, stages=stages)


def parts(config: Config) -> Iterator[str]:
    """The names of all parts that a stage of this configuration might train."""
    if config.llm:
        yield from ("llm.lora",) if config.llm.lora else ()
        yield from ("llm.signal_tokens",) if config.outputs or config.llm.added_tokens else ()
        yield "llm.body"
        yield from (f"llm.adapters.{name}" for name in config.llm.adapters)
    yield from (f"encoders.{name}" for name in config.encoders)
    for key, port in config.inputs.items():
        if isinstance(port.projector, Node):
            yield f"inputs.{key}.projector"
            within = port.projector.cls.parts if issubclass(port.projector.cls, InputProjector) else ()
            yield from (f"inputs.{key}.projector.{name}" for name in within)
    for key, output in config.outputs.items():
        if isinstance(output.projector, Node):
            yield f"outputs.{key}.projector"
        yield from (f"outputs.{key}.decoder.{part}" for part in DECODER_PARTS)


def _section(errors: Errors, name: str, section: Any) -> dict[str, Any]:
    """The entries that are modules: their keys are said in paths, so they have no dots."""
    found = {key: node for key, node in entries(section) if node is not None}
    for key in [key for key in found if "." in key]:
        errors.add(f"{name}.{key}", f"the key {key!r} has a dot, which paths are made with; name it otherwise")
        del found[key]
    return found


def _node(errors: Errors, path: str, kind: str, node: Any) -> Node:
    given = dict(entries(node))
    name = given.pop("type", None)
    if not isinstance(node, Mapping):
        errors.add(path, f"must be a mapping, but {node!r} was given")
    elif not isinstance(name, str):
        errors.add(f"{path}.type", f"is missing; it is one of {', '.join(sorted(registry.table(kind)))}")
    else:
        try:
            cls = registry.resolve(kind, name)
        except ValueError as error:
            errors.add(f"{path}.type", str(error))
        else:
            check_keywords(errors, path, given, cls)
            return Node(name, cls, given)
    return Node(str(name), object, given)


def _llm(errors: Errors, section: Any) -> LLMConfig | None:
    if section is None:
        return None
    given = check_fields(errors, "llm", section, LLMConfig)
    lora, template = given.get("lora"), given.get("template")
    if isinstance(lora, Mapping):
        check_fields(errors, "llm.lora", lora, Lora)
        given["lora"] = {key: value for key, value in lora.items() if value is not None}
    nodes = _section(errors, "llm.adapters", given.get("adapters"))
    given["adapters"] = {name: _node(errors, f"llm.adapters.{name}", "adapters", node) for name, node in nodes.items()}
    if isinstance(template, str) and template not in TEMPLATES:
        errors.add("llm.template", f"{template!r} is not one of {', '.join(TEMPLATES)}")
    elif isinstance(template, Mapping):
        check_fields(errors, "llm.template", template, Template)
        for name, section in ((name, cls) for name, cls in SECTIONS.items() if template.get(name) is not None):
            check_fields(errors, f"llm.template.{name}", template[name], section)
    return LLMConfig(**{"path": "", **given})


def _projector(
    errors: Errors, path: str, kind: str, ports: Mapping[str, Any], llm: LLMConfig | None
) -> Node | Share | None:
    """The projector of the port at `path`; one of `ports`, the ports beside it, may be the one whose it shares."""
    side, _, key = path.partition(".")
    node = dict(entries(ports[key])).get("projector")
    here = f"{path}.projector"
    beside = {f"{side}.{name}.projector": dict(entries(dict(entries(p)).get("projector"))) for name, p in ports.items()}
    if isinstance(node, Mapping) and "share" in node:
        owners = [name for name, projector in beside.items() if "type" in projector]
        if node["share"] not in owners or len(node) > 1:
            errors.add(f"{here}.share", f"{node['share']!r} is not one of {', '.join(owners) or 'no projectors'}")
        return Share(str(node["share"]))
    if isinstance(node, Mapping) and "shares" in node:
        made = _node(errors, here, kind, {name: value for name, value in node.items() if name != "shares"})
        return dataclasses.replace(made, shares=_shares(errors, f"{here}.shares", made, node["shares"], beside))
    if node is not None:
        return _node(errors, here, kind, node)
    if llm is not None and isinstance(ports[key], Mapping):
        errors.add(here, f"is missing; its type is one of {', '.join(sorted(registry.table(kind)))}")
    return None


def _shares(errors: Errors, path: str, node: Node, given: Any, beside: Mapping[str, Any]) -> Mapping[str, str]:
    """The parts of an input projector that are those of one `beside` it, of the same type, which has them to itself."""
    known = node.cls.parts if issubclass(node.cls, InputProjector) else ()
    alike = {path: projector for path, projector in beside.items() if projector.get("type") == node.type}
    for name, owner in entries(given):
        fitting = [path for path, projector in alike.items() if name not in dict(entries(projector.get("shares")))]
        if name not in known:
            errors.add(f"{path}.{name}", f"{name!r} is not one of {', '.join(known) or 'no parts'}")
        elif owner not in fitting:
            errors.add(f"{path}.{name}", f"{owner!r} is not one of {', '.join(fitting) or 'no projectors'}")
    return dict(entries(given))


def _media(errors: Errors, path: str, key: str, given: Mapping[str, Any]) -> str:
    media = str(given.get("media") or key)
    if media not in MEDIA:
        errors.add(f"{path}.media", f"{media!r} is not one of {', '.join(MEDIA)}")
    return media


def _input(
    errors: Errors, key: str, inputs: Mapping[str, Any], encoders: Mapping[str, Node], llm: LLMConfig | None
) -> Input:
    path = f"inputs.{key}"
    given = check_fields(errors, path, inputs[key], Input)
    encoder = str(given.get("encoder"))
    if "encoder" in given and encoder not in encoders:
        errors.add(f"{path}.encoder", f"{encoder!r} is not one of {', '.join(encoders) or 'no encoders'}")
    projector = _projector(errors, path, "input_projectors", inputs, llm)
    port = Input(encoder, projector, _media(errors, path, key, given), given.get("into") or (), given.get("boxes"))
    _into(errors, f"{path}.into", port.adapters, llm)
    if port.boxes is not None:
        _source(errors, f"{path}.boxes", port.boxes, {"type": str}, registry.CODECS)
    return port


def _into(errors: Errors, path: str, names: Sequence[str], llm: LLMConfig | None) -> None:
    """Hold the adapters that media go into against those that the LLM has."""
    known = {} if llm is None else {name: node.cls for name, node in llm.adapters.items() if node.cls is not object}
    for name in names:
        if llm is None or name not in llm.adapters:
            errors.add(path, f"{name!r} is not one of {', '.join(llm.adapters if llm else ()) or 'no adapters'}")
        elif name in known and not known[name].hears:
            errors.add(path, f"{name!r} reads no media")
    if len({known[name].spliced for name in names if name in known}) > 1:
        errors.add(path, f"{', '.join(names)}: in some the media stand in the sequence too, in others they do not")


def _output(errors: Errors, key: str, outputs: Mapping[str, Any], llm: LLMConfig | None) -> Output:
    path = f"outputs.{key}"
    given = check_fields(errors, path, outputs[key], Output)
    named = "decoder" in given
    decoder = _node(errors, f"{path}.decoder", "decoders", given["decoder"]) if named else Node("", object, {})
    projector = _projector(errors, path, "output_projectors", outputs, llm)
    return Output(decoder, projector, given.get("tokens", 1), _media(errors, path, key, given))


def _source(errors: Errors, path: str, node: Any, also: Mapping[str, Any], known: str = registry.SOURCES) -> None:
    """Hold a source (or codec) of ours against its class; a `module:Class` of others is imported where it is used."""
    table, kind = find(known, path), dict(entries(node)).get("type")
    if not isinstance(node, Mapping):
        errors.add(path, f"must be a mapping, but {node!r} was given")
    elif kind in table:
        check_keywords(errors, path, node, find(table[kind], path), wired=False, also=also)
    elif not isinstance(kind, str) or ":" not in kind:
        errors.add(f"{path}.type", f"{kind!r} is not one of {', '.join(table)} (or 'module:Class')")


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
    for source, value in entries(given.get("data")):
        here = f"{path}.data.{source}"
        if isinstance(value, Mapping):
            _source(errors, here, {"type": "jsonl", **value}, hints_of(Source) | {"weight": float})
        elif source in config.data:
            check_value(errors, here, value, float)
        else:
            errors.add(here, f"{source!r} is not one of {', '.join(config.data) or 'no data'}")
    if isinstance(template := given.get("template"), str) and template not in TEMPLATES:
        errors.add(f"{path}.template", f"{template!r} is not one of {', '.join(TEMPLATES)}")
    if given and (given.get("steps") is None) == (given.get("epochs") is None):
        errors.add(path, "give either steps or epochs")
    return Stage(key, **{"train": {}, "losses": {}, "data": {}, "seed": config.seed, **given})
