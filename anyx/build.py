"""A checked configuration -> AnyX: every component from its keywords, the widths between them wired.

An encoder says its `dim`, a decoder its `condition`, the LLM its `dim`; projectors are built to fit. Equal encoder
nodes become one module. What a component refuses is said with its path in the YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TypeVar

import torch

from anyx import published, registry
from anyx.adapters.body import Body
from anyx.components import Late, drawn_later, known, make, named, on_meta, seeded
from anyx.config import Config
from anyx.interfaces import Adapter, Decoder, Encoder, InputProjector, OutputProjector
from anyx.llm import LLM
from anyx.model import AnyX, InputPort, OutputPort
from anyx.packaged import locate
from anyx.schema import Input, LLMConfig, Node, Output, Share
from anyx.waiting import Waiting

Made = TypeVar("Made")


def build(
    config: Config,
    *,
    device: str | torch.device = "cpu",
    meta: bool = False,
    encoders: bool = True,
    decoders: bool = True,
    lazy: bool = False,
    body: bool = True,
) -> AnyX:
    """Build the model. On `meta` it has shapes only and no weight is read.

    Without `encoders` (features are cached) or `decoders` (nothing is to be made) these are left out of the model, and
    only their widths are asked. `lazy`: those that are wholly read from files of a `path` wait until they are needed.
    Without `body` the LLM has shapes only.
    """
    if config.llm is None:
        raise ValueError("llm: is missing; backbones alone are trained by `anyx train`, they are no model to talk to")
    with torch.device("meta") if meta else nullcontext():
        tokens = {key: port.tokens for key, port in config.outputs.items()}
        with nullcontext() if body else torch.device("meta"):
            llm = language_model(config.llm, tokens, weights=body and not meta)
        late = Late.of(config) if lazy else Late({}, {})
        heard = late.encoders | build_encoders(
            {name: node for name, node in config.encoders.items() if name not in late.encoders}, meta=not encoders
        )
        spoken = late.decoders | build_decoders(
            {key: port for key, port in config.outputs.items() if key not in late.decoders}, meta=not decoders
        )
        with nullcontext() if body else torch.device("meta"):
            inside = build_adapters(config.llm, llm)
        wide = {key: widths(port.adapters, inside, llm.dim) for key, port in config.inputs.items()}
        readers = input_projectors(config.inputs, {name: known(part).dim for name, part in heard.items()}, wide)
        inputs = {}
        for key, port in config.inputs.items():
            with named(f"inputs.{key}"):
                kind = registry.resolve("media", port.media)
                inputs[key] = InputPort(port.encoder, readers[key], kind=kind, into=port.adapters)
        spoke = {key: known(part) for key, part in spoken.items()}
        writers = output_projectors(config.outputs, llm.dim, spoke, lazy=lazy)
        outputs = {
            key: OutputPort(
                writers[key],
                ids=llm.groups[key],
                kind=registry.resolve("media", out.media),
                decoder=spoken[key] if decoders else None,
            )
            for key, out in config.outputs.items()
        }
        model = AnyX(
            llm, template=config.llm.template, encoders=heard if encoders else {}, inputs=inputs, outputs=outputs
        )
    model.config, model.sampling = config, config.sampling
    return model if meta or not body else model.to(device)


def language_model(config: LLMConfig, tokens: Mapping[str, int], *, weights: bool = True) -> LLM:
    """The LLM with its signal tokens."""
    path, tokenizer = config.path, config.tokenizer
    if on_meta():
        path, tokenizer = published.language_model(path, tokenizer)
    path = locate(path) if isinstance(path, str) else path
    with named("llm"), seeded("llm"):
        return LLM.load(
            path,
            tokens=tokens,
            added_tokens=config.added_tokens,
            lora=config.lora,
            dtype=config.dtype,
            attention=config.attention,
            tokenizer=tokenizer,
            tables=config.tables,
            quantize=config.quantize,
            weights=weights,
        )


def build_adapters(config: LLMConfig, llm: LLM) -> dict[str, Adapter]:
    """What lives inside the LLM's layers, by name; the LLM then owns it."""
    if not config.adapters:
        return {}
    with named("llm.adapters"):
        body = Body(llm.model)
    made: dict[str, Adapter] = {
        name: make(f"llm.adapters.{name}", node, body, name) for name, node in config.adapters.items()
    }
    llm.attach(made)
    return made


def widths(into: Sequence[str], adapters: Mapping[str, Adapter], dim: int) -> int:
    """How wide tokens must be that go into these adapters; `dim`, the LLM's width, for the sequence."""
    found = {adapters[name].dim for name in into} or {dim}
    if len(found) > 1:
        raise ValueError(f"into: {', '.join(into)} read tokens of widths {sorted(found)}; they must be the same")
    return found.pop()


def build_encoders(nodes: Mapping[str, Node], *, meta: bool = False) -> dict[str, Encoder]:
    """The encoders by name; equal nodes are one module. On `meta` they only say their widths."""
    made: list[tuple[Node, Encoder]] = []
    encoders: dict[str, Encoder] = {}
    with torch.device("meta") if meta else nullcontext():
        for name, node in nodes.items():
            twin = next((encoder for other, encoder in made if other == node), None)
            encoders[name] = twin if twin is not None else make(f"encoders.{name}", node)
            made.append((node, encoders[name]))
    return encoders


def build_decoders(outputs: Mapping[str, Output], *, meta: bool = False) -> dict[str, Decoder]:
    """The decoders by output. On `meta` they only say what they read."""
    with torch.device("meta") if meta else nullcontext():
        return {key: make(f"outputs.{key}.decoder", port.decoder) for key, port in outputs.items()}


def input_projectors(
    inputs: Mapping[str, Input], heard: Mapping[str, int], wanted: Mapping[str, int]
) -> dict[str, InputProjector]:
    """The input projectors by input: from the widths of encoders, by name, to those wanted, by input."""
    own = {
        key: make(f"inputs.{key}.projector", port.projector, heard[port.encoder], wanted[key])
        for key, port in inputs.items()
        if isinstance(port.projector, Node)
    }
    for key, port in inputs.items():
        node = port.projector
        if isinstance(node, Share) and wanted[key] != wanted[node.key]:
            told = f"tokens of width {wanted[node.key]}, but this input needs {wanted[key]}"
            raise ValueError(f"inputs.{key}.projector.share: {node.share} makes {told}")
        for name, owner in node.shares.items() if isinstance(node, Node) else ():
            lend(f"inputs.{key}.projector.shares.{name}", own[key], name, own[owner.split(".")[1]])
    return shared("inputs", inputs, own, {key: heard[port.encoder] for key, port in inputs.items()})


def lend(path: str, mine: InputProjector, name: str, owner: InputProjector) -> None:
    """Put a part of one projector, a module or a parameter, in the place of another's."""
    shapes = [{n: x.shape for n, x in one.named_parameters() if n.partition(".")[0] == name} for one in (mine, owner)]
    if not shapes[0] or shapes[0] != shapes[1]:
        raise ValueError(f"{path}: the two parts are not of the same shapes, or not there; give both the same sizes")
    found = dict(owner.named_children()) | dict(owner.named_parameters(recurse=False))
    setattr(mine, name, found[name])


def output_projectors(
    outputs: Mapping[str, Output], dim: int, decoders: Mapping[str, Decoder], *, lazy: bool = False
) -> dict[str, OutputProjector | Waiting[OutputProjector]]:
    """The output projectors by output; `lazy` leaves those that no two outputs share until they are needed."""
    lenders = {port.projector.key for port in outputs.values() if isinstance(port.projector, Share)}
    own = {}
    for key, port in outputs.items():
        if isinstance(port.projector, Node):
            build_it = drawn_later if lazy and key not in lenders else make
            own[key] = build_it(f"outputs.{key}.projector", port.projector, dim, decoders[key].condition)
    return shared("outputs", outputs, own, {key: dict(decoders[key].condition) for key in outputs})


def shared(
    side: str, ports: Mapping[str, Input] | Mapping[str, Output], own: Mapping[str, Made], shapes: Mapping[str, object]
) -> dict[str, Made]:
    """All projectors by port: a shared one is the same module twice, where the frozen part beside it allows."""
    found = dict(own)
    for key, port in ports.items():
        if isinstance(port.projector, Share):
            here, there = shapes[key], shapes[port.projector.key]
            if here != there:
                part, does = ("encoder", "says") if side == "inputs" else ("decoder", "reads")
                told = f"its {part} {does} {here}, but {port.projector.share} is made for {there}"
                raise ValueError(f"{side}.{key}.projector.share: {told}")
            found[key] = own[port.projector.key]
    return {key: found[key] for key in ports}
