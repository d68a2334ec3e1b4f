"""Whole third-party bodies in a checkpoint: a fine-tuned LLM, a fine-tuned tower, as folders that transformers reads.

A model folder of ours names such bodies by path. Where a checkpoint changed one, it is written beside our weights, with
the configuration and the tokenizer of the base that it grew from: `llm/`, and a folder for each encoder by its name. An
encoder of our own stands on no base: its sizes are in the YAML, and its folder holds its weights by our names alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from anyx.registry import resolve
from anyx.schema import Node

LLM = "llm.body."
TABLES = {"embedding": f"{LLM}model.embed_tokens.weight", "head": f"{LLM}lm_head.weight"}  # as LLaMA names them
TOWER = "tower."
WEIGHTS, CONFIG = "model.safetensors", "config.json"
ENCODER = "encoder.safetensors"  # of an encoder of our own
Said = Mapping[str, Any]
BESIDE = ("generation_config.json", "preprocessor_config.json")
EVA = ("blip-2", "blip_2_vision_model", "instructblip", "instructblip_vision_model", "instructblipvideo")


def split(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """(our own weights, bodies by the name of their folder with their own names)."""
    own: dict[str, Tensor] = {}
    bodies: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        section, _, rest = name.partition(".")
        encoder, _, inner = rest.partition(".")
        if name.startswith(LLM):
            bodies.setdefault("llm", {})[name.removeprefix(LLM)] = tensor
        elif section == "encoders" and inner.startswith(TOWER):
            bodies.setdefault(encoder, {})[inner.removeprefix(TOWER)] = tensor
        else:
            own[name] = tensor
    return own, bodies


def own_encoders(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """(what is no encoder of our own, encoders of our own by name with their own names)."""
    rest: dict[str, Tensor] = {}
    encoders: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        section, _, inner = name.partition(".")
        if section == "encoders":
            encoder, _, inner = inner.partition(".")
            encoders.setdefault(encoder, {})[inner] = tensor
        else:
            rest[name] = tensor
    return rest, encoders


def check_own(name: str, node: Node, tensors: Mapping[str, Tensor]) -> None:
    """Hold an encoder of our own against what its keywords in the YAML make."""
    with torch.device("meta"):
        made = resolve("encoders", node.type)(**{key: value for key, value in node.kwargs.items() if key != "path"})
    if told := differing(made, tensors):
        raise ValueError(f"encoders.{name}: its keywords make another {node.type} than the checkpoint's, {told}")


def write_own(folder: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write an encoder of our own; the file."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: x.contiguous() for name, x in tensors.items()}, folder / ENCODER, metadata={"format": "pt"})
    return folder / ENCODER


def differing(made: nn.Module, tensors: Mapping[str, Tensor]) -> str:
    """Which names and shapes are not those of a module, in words; nothing where all are."""
    expected = {key: tuple(x.shape) for key, x in made.state_dict().items()}
    found = {key: tuple(x.shape) for key, x in tensors.items()}
    wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
    shown = ", ".join(f"{key} {found.get(key)} instead of {expected.get(key)}" for key in wrong[:4])
    return f"{len(wrong)} differ: {shown}" if wrong else ""


def check(name: str, base: Any, tensors: Mapping[str, Tensor], said: Said) -> None:
    """Hold a body against the configuration of its base: its names and shapes are those of the base's class."""
    with torch.device("meta"):
        made = planned(name, base, tensors, said)
    if told := differing(made, tensors):
        raise ValueError(f"base {name}: {base} is not what the checkpoint grew from, {told}")


def planned(name: str, base: Any, tensors: Mapping[str, Tensor], said: Said) -> nn.Module:
    """The base's class by its configuration, with as many rows in its table as the body has, and what is `said` of it.

    The latter are values of an LLM's configuration that a checkpoint tells otherwise than its base.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, CLIPVisionConfig, CLIPVisionModel
    from transformers.models.blip_2 import Blip2VisionConfig, Blip2VisionModel

    if not isinstance(base, str) or not Path(base, CONFIG).is_file():
        raise ValueError(f"base {name}: the checkpoint holds a whole {name}; {base} must be a folder with its {CONFIG}")
    if name != "llm":
        eva = json.loads(Path(base, CONFIG).read_text()).get("model_type") in EVA
        tower: nn.Module = (
            Blip2VisionModel(Blip2VisionConfig.from_pretrained(base))
            if eva
            else CLIPVisionModel(CLIPVisionConfig.from_pretrained(base))
        )
        return tower
    config = AutoConfig.from_pretrained(base, **said)
    config.vocab_size = rows_of(tensors) or config.vocab_size
    model: nn.Module = AutoModelForCausalLM.from_config(config)
    return model


def rows_of(tensors: Mapping[str, Tensor]) -> int | None:
    """How many rows a body's table has; None where it has none."""
    return next((len(x) for name, x in tensors.items() if name.endswith("embed_tokens.weight")), None)


def write(folder: Path, base: str, tensors: Mapping[str, Tensor], said: Said) -> Path:
    """Write a body with its base's configuration, but for what is `said` of it."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = json.loads(Path(base, CONFIG).read_text()) | dict(said)
    if "rope_parameters" in said:  # transformers 5's word for what older files spread over two
        settings = {name: value for name, value in settings.items() if name not in ("rope_theta", "rope_scaling")}
    if (rows := rows_of(tensors)) is not None:
        settings["vocab_size"] = rows
    (folder / CONFIG).write_text(json.dumps(settings, indent=2) + "\n")
    for name in BESIDE:
        if Path(base, name).is_file():
            shutil.copyfile(Path(base, name), folder / name)
    save_file({name: x.contiguous() for name, x in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


def read(folder: Path) -> dict[str, Tensor]:
    """The bodies that lie in a model folder, by our names."""
    state: dict[str, Tensor] = {}
    for place in sorted(path.parent for path in folder.glob(f"*/{WEIGHTS}")):
        prefix = LLM if place.name == "llm" else f"encoders.{place.name}.{TOWER}"
        state |= {f"{prefix}{name}": x for name, x in load_file(place / WEIGHTS).items()}
    for file in sorted(folder.glob(f"*/{ENCODER}")):
        state |= {f"encoders.{file.parent.name}.{name}": x for name, x in load_file(file).items()}
    return state


def learnt(file: Path) -> dict[str, Tensor]:
    """What a model folder of a training holds of whole parts, by our names; nothing where there is no such file."""
    found = load_file(file) if file.is_file() else {}
    return {f"{LLM}{n.removeprefix('llm.model.')}" if n.startswith("llm.model.") else n: x for n, x in found.items()}
