"""Checks of a YAML's model: components by the signatures of their classes, and the ports that put them together.

Each returns what `anyx.schema` calls it and adds to `errors` what is wrong, by its path in the YAML; `config.py` calls
them. A component that cannot be found stands there as `object`, so that what depends on it can be checked on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import nn

from anyx import registry
from anyx.faults import Limits
from anyx.imports import find
from anyx.interfaces import InputProjector
from anyx.schema import Input, LLMConfig, Lora, Node, Output, Share, misasked
from anyx.signatures import Errors, check_fields, check_keywords, entries
from anyx.templates import SECTIONS, TEMPLATES, Template

ATTRIBUTES = frozenset(dir(nn.ModuleDict()))
WORDS = "text"  # the type of a part of a message that is no medium


def section(errors: Errors, name: str, given: Any) -> dict[str, Any]:
    """The entries that are modules: their keys are said in paths, so they have no dots, and are attributes."""
    found = {key: node for key, node in entries(given) if node is not None}
    taken = {key: "has a dot, which paths are made with" for key in found if "." in key}
    taken |= {key: "is a name that PyTorch's modules have for themselves" for key in found if key in ATTRIBUTES}
    if name in ("inputs", "outputs") and WORDS in found:
        taken[WORDS] = "stands for words in a conversation, which need no port"
    for key, why in taken.items():
        errors.add(f"{name}.{key}", f"the key {key!r} {why}; name it otherwise")
        del found[key]
    return found


def component(errors: Errors, path: str, kind: str, node: Any) -> Node:
    """A component by its type and the keywords of its class."""
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


def language_model(errors: Errors, node: Any, keys: Collection[str]) -> LLMConfig | None:
    """The section `llm`, if there is one; `keys` are the model's inputs."""
    if node is None:
        return None
    given = check_fields(errors, "llm", node, LLMConfig)
    lora, template = given.get("lora"), given.get("template")
    if isinstance(lora, Mapping):
        check_fields(errors, "llm.lora", lora, Lora)
        given["lora"] = {key: value for key, value in lora.items() if value is not None}
    nodes = section(errors, "llm.adapters", given.get("adapters"))
    given["adapters"] = {
        name: component(errors, f"llm.adapters.{name}", "adapters", said) for name, said in nodes.items()
    }
    check_template(errors, "llm.template", template, keys)
    return LLMConfig(**{"path": "", **given})


def check_template(errors: Errors, path: str, template: Any, keys: Collection[str]) -> None:
    """A template is a name or a mapping of its fields, and has marks for the inputs `keys`."""
    if isinstance(template, str) and template not in TEMPLATES:
        errors.add(path, f"{template!r} is not one of {', '.join(TEMPLATES)}")
    elif isinstance(template, Mapping):
        check_fields(errors, path, template, Template)
        for name, cls in ((name, cls) for name, cls in SECTIONS.items() if template.get(name) is not None):
            check_fields(errors, f"{path}.{name}", template[name], cls)
        for task, form in entries(template.get("tasks")):
            if isinstance(form, str) and form.count("{}") != 1:
                errors.add(f"{path}.tasks.{task}", f"{form!r} given; it says once by {{}} where the words stand")
        for name in ("media_start", "media_end"):
            if isinstance(template.get(name), Mapping) and (bare := [key for key in keys if key not in template[name]]):
                errors.add(f"{path}.{name}", f"says nothing of {', '.join(bare)}; it names every input, or is one text")


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
        made = component(errors, here, kind, {name: value for name, value in node.items() if name != "shares"})
        return dataclasses.replace(made, shares=_shares(errors, f"{here}.shares", made, node["shares"], beside))
    if node is not None:
        return component(errors, here, kind, node)
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
    try:
        registry.resolve("media", media)
    except ValueError as error:
        errors.add(f"{path}.media", str(error))
    return media


def input_port(
    errors: Errors, key: str, inputs: Mapping[str, Any], encoders: Mapping[str, Node], llm: LLMConfig | None
) -> Input:
    """An input: an encoder that there is, a projector, a kind of media."""
    path = f"inputs.{key}"
    given = check_fields(errors, path, inputs[key], Input)
    encoder = str(given.get("encoder"))
    if "encoder" in given and encoder not in encoders:
        errors.add(f"{path}.encoder", f"{encoder!r} is not one of {', '.join(encoders) or 'no encoders'}")
    projector = _projector(errors, path, "input_projectors", inputs, llm)
    port = Input(encoder, projector, _media(errors, path, key, given), given.get("into") or (), given.get("boxes"))
    _into(errors, f"{path}.into", port.adapters, llm)
    if port.boxes is not None:
        source(errors, f"{path}.boxes", port.boxes, {"type": str}, registry.CODECS)
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


def output_port(errors: Errors, key: str, outputs: Mapping[str, Any], llm: LLMConfig | None) -> Output:
    """An output: a decoder, a projector, a kind of media."""
    path = f"outputs.{key}"
    given = check_fields(errors, path, outputs[key], Output)
    named = "decoder" in given
    decoder = component(errors, f"{path}.decoder", "decoders", given["decoder"]) if named else Node("", object, {})
    projector = _projector(errors, path, "output_projectors", outputs, llm)
    ask = given.get("ask")
    if isinstance(ask, str) and (told := misasked(ask)):
        errors.add(f"{path}.ask", told)
    return Output(decoder, projector, given.get("tokens", 1), _media(errors, path, key, given), ask)


def source(errors: Errors, path: str, node: Any, also: Mapping[str, Any], known: str = registry.SOURCES) -> None:
    """Hold a source (or codec) of ours against its class; a `module:Class` of others is imported where it is used."""
    table, kind = find(known, path), dict(entries(node)).get("type")
    if (limits := dict(entries(node)).get("limits")) and "limits" in also:
        check_fields(errors, f"{path}.limits", limits, Limits)
    if not isinstance(node, Mapping):
        errors.add(path, f"must be a mapping, but {node!r} was given")
    elif kind in table:
        check_keywords(errors, path, node, find(table[kind], path), wired=False, also=also)
    elif not isinstance(kind, str) or ":" not in kind:
        errors.add(f"{path}.type", f"{kind!r} is not one of {', '.join(table)} (or 'module:Class')")
