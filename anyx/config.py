"""A YAML and `a.b=c` overrides -> a checked `Config`, with every error named at once and before any weight is read.

A component is written `{type: name, **keywords}`; the keyword-only parameters of the class that `registry.py` finds
under the name are its schema. Positional parameters (widths) are wired by `build.py`. A YAML may say
`base: ../other.yaml`, which is merged under it (a component of another `type` replaces the base's, `null` drops an
entry). Strings that begin with `./` or `../` are paths from the folder of the YAML that says them.

Only this file sees OmegaConf.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from anyx import registry
from anyx.interfaces import TextTeacher
from anyx.media import MEDIA
from anyx.schema import (
    Errors,
    Input,
    LLMConfig,
    Node,
    Output,
    Share,
    StageConfig,
    check_fields,
    check_keywords,
    closest,
    mapping_at,
)
from anyx.templates import TEMPLATES

LOSSES = ("text", "caption", "denoise", "contrastive", "reconstruct", "align")
LORA = ("r", "alpha", "targets", "dropout")
DECODER_PARTS = ("vae", "denoiser", "motion", "text", "vocoder")


class ConfigError(ValueError):
    """Every error of a configuration, one a line; also as the list `errors`."""

    def __init__(self, errors: Sequence[str]):
        super().__init__("\n".join(errors))
        self.errors = list(errors)


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole checked configuration; `raw` is the resolved YAML it came from."""

    llm: LLMConfig | None = None
    encoders: Mapping[str, Node] = dataclasses.field(default_factory=dict)
    inputs: Mapping[str, Input] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, Output] = dataclasses.field(default_factory=dict)
    stages: Mapping[str, StageConfig] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    evaluation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    raw: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def to_yaml(self) -> str:
        """The resolved YAML."""
        return str(OmegaConf.to_yaml(dict(self.raw)))


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge and check a YAML."""
    raw = read(path)
    for override in overrides:
        if "=" not in override:
            raise ConfigError([f"{override}: an override is written a.b=c"])
        raw = _merge(raw, _plain(OmegaConf.from_dotlist([override])))
    return check(raw)


def read(path: str | Path) -> dict[str, Any]:
    """A YAML as plain mappings, merged over its `base`, paths made absolute."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError([f"{path}: no such file"])
    try:
        loaded = OmegaConf.load(path)
    except (OmegaConfBaseException, ValueError, OSError) as error:
        raise ConfigError([f"{path}: {error}"]) from error
    except Exception as error:  # YAML's own errors, whose class belongs to OmegaConf's dependency
        raise ConfigError([f"{path}: no YAML: {' '.join(str(error).split())}"]) from error
    raw: Any = _plain(loaded)
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: a configuration is a mapping, but {type(raw).__name__} was found"])
    base = raw.pop("base", None)
    raw = dict(_anchor(raw, path.resolve().parent))
    return raw if base is None else dict(_merge(read(path.parent / base), raw))


def check(raw: Mapping[str, Any]) -> Config:
    """A plain mapping as a `Config`; raises `ConfigError` with everything that is wrong."""
    try:
        raw = dict(_plain(OmegaConf.create(dict(raw)), resolve=True))
    except OmegaConfBaseException as error:
        raise ConfigError([str(error).splitlines()[0]]) from error
    errors = Errors()
    check_fields(errors, "", raw, Config, skip=("raw",))
    entries = {name: _entries(errors, name, raw) for name in ("encoders", "inputs", "outputs", "stages", "data")}
    llm = _llm(errors, raw)
    encoders = {key: _node(errors, f"encoders.{key}", "encoders", node) for key, node in entries["encoders"].items()}
    inputs = {key: _input(errors, key, entries["inputs"], encoders, llm) for key in entries["inputs"]}
    outputs = {key: _output(errors, key, entries["outputs"], llm) for key in entries["outputs"]}
    for key, node in entries["data"].items():
        if not isinstance(mapping_at(errors, f"data.{key}", node).get("type"), str):
            errors.add(f"data.{key}.type", "a source says its type")
    evaluation, seed = raw.get("evaluation") or {}, raw.get("seed") or 0
    config = Config(llm, encoders, inputs, outputs, {}, entries["data"], evaluation, seed, raw)
    stages = {key: _stage(errors, key, node, config) for key, node in entries["stages"].items()}
    if errors:
        raise ConfigError(errors)
    return dataclasses.replace(config, stages=stages)


def parts(config: Config) -> Iterator[str]:
    """The names of all parts that a stage of this configuration might train."""
    if config.llm:
        yield from ("llm.lora",) if config.llm.lora else ()
        yield from ("llm.signal_tokens",) if config.outputs else ()
        yield "llm.body"
    yield from (f"encoders.{name}" for name in config.encoders)
    yield from (f"inputs.{key}.projector" for key, port in config.inputs.items() if isinstance(port.projector, Node))
    for key, output in config.outputs.items():
        if isinstance(output.projector, Node):
            yield f"outputs.{key}.projector"
        yield from (f"outputs.{key}.decoder.{part}" for part in DECODER_PARTS)


def _plain(config: Any, *, resolve: bool = False) -> Any:
    return OmegaConf.to_container(config, resolve=resolve)


def _anchor(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _anchor(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_anchor(item, folder) for item in value]
    return str((folder / value).resolve()) if isinstance(value, str) and value.startswith(("./", "../")) else value


def _merge(under: Any, over: Any) -> Any:
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    if "type" in over and over["type"] != under.get("type"):
        return over
    return under | {key: _merge(under.get(key), value) for key, value in over.items()}


def _entries(errors: Errors, name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    entries = mapping_at(errors, name, raw.get(name) or {})
    return {str(key): node for key, node in entries.items() if node is not None}


def _node(errors: Errors, path: str, kind: str, node: Any) -> Node:
    given = dict(mapping_at(errors, path, node))
    name = given.pop("type", None)
    if not isinstance(name, str):
        errors.add(f"{path}.type", f"is missing; it is one of {', '.join(sorted(registry.table(kind)))}")
        return Node("", object, given)
    try:
        cls = registry.resolve(kind, name)
    except ValueError as error:
        errors.add(f"{path}.type", str(error))
        return Node(name, object, given)
    check_keywords(errors, path, given, cls)
    return Node(name, cls, given)


def _llm(errors: Errors, raw: Mapping[str, Any]) -> LLMConfig | None:
    if raw.get("llm") is None:
        return None
    given = check_fields(errors, "llm", raw["llm"], LLMConfig)
    if "lora" in given and given["lora"] is not None:
        missing = [key for key in ("r", "targets") if key not in mapping_at(errors, "llm.lora", given["lora"])]
        errors.extend(f"llm.lora.{key}: is missing; 'lora' requires it" for key in missing)
    for key in mapping_at(errors, "llm.lora", given.get("lora") or {}):
        if key not in LORA:
            errors.add(f"llm.lora.{key}", f"Key {key!r} not in 'lora'.{closest(key, LORA)}")
    template = given.get("template")
    if isinstance(template, str) and template not in TEMPLATES:
        errors.add("llm.template", f"{template!r} is not one of {', '.join(TEMPLATES)}")
    return LLMConfig(**{"path": "", **given})


def _projector(
    errors: Errors, path: str, kind: str, ports: Mapping[str, Any], llm: LLMConfig | None
) -> Node | Share | None:
    """The projector of the port at `path`; one of `ports`, the ports beside it, may be the one whose it shares."""
    side, key = path.split(".")
    node = mapping_at(errors, path, ports[key] or {}).get("projector")
    here = f"{path}.projector"
    if isinstance(node, Mapping) and "share" in node:
        owners = [f"{side}.{name}.projector" for name, other in ports.items() if "type" in _projector_of(other)]
        if node["share"] not in owners or len(node) > 1:
            errors.add(f"{here}.share", f"{node['share']!r} is not one of {', '.join(owners) or 'no projectors'}")
        return Share(str(node["share"]))
    if node is None and llm is None:
        return None
    if node is None:
        errors.add(here, f"is missing; its type is one of {', '.join(sorted(registry.table(kind)))}")
        return None
    return _node(errors, here, kind, node)


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
    return Input(encoder, projector, _media(errors, path, key, given))


def _output(errors: Errors, key: str, outputs: Mapping[str, Any], llm: LLMConfig | None) -> Output:
    path = f"outputs.{key}"
    given = check_fields(errors, path, outputs[key], Output)
    decoder = _node(errors, f"{path}.decoder", "decoders", given.get("decoder") or {})
    projector = _projector(errors, path, "output_projectors", outputs, llm)
    return Output(decoder, projector, given.get("tokens", 1), _media(errors, path, key, given))


def _projector_of(port: Any) -> Mapping[str, Any]:
    projector = port.get("projector") if isinstance(port, Mapping) else None
    return projector if isinstance(projector, Mapping) else {}


def _stage(errors: Errors, key: str, node: Any, config: Config) -> StageConfig:
    path = f"stages.{key}"
    given = check_fields(errors, path, node, StageConfig)
    known = list(parts(config))
    for glob in mapping_at(errors, f"{path}.train", given.get("train") or {}):
        if not any(fnmatchcase(part, glob) for part in known):
            errors.add(f"{path}.train", f"{glob!r} names nothing; the parts are {', '.join(known)}")
    for loss in mapping_at(errors, f"{path}.losses", given.get("losses") or {}):
        if loss not in LOSSES:
            errors.add(f"{path}.losses.{loss}", f"{loss!r} is not one of {', '.join(LOSSES)}")
    for name, output in config.outputs.items() if "caption" in (given.get("losses") or {}) else ():
        if output.decoder.cls is not object and not issubclass(output.decoder.cls, TextTeacher):
            text = f"outputs.{name}.decoder {output.decoder.type!r} has no text encoder to learn from"
            errors.add(f"{path}.losses.caption", f"{text}; use 'denoise' instead")
    for source, value in mapping_at(errors, f"{path}.data", given.get("data") or {}).items():
        if not isinstance(value, Mapping) and source not in config.data:
            errors.add(f"{path}.data.{source}", f"{source!r} is not one of {', '.join(config.data) or 'no data'}")
    if (given.get("steps") is None) == (given.get("epochs") is None):
        errors.add(path, "give either steps or epochs")
    return StageConfig(**{"train": {}, "losses": {}, "data": {}, **given})
