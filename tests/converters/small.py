"""Small bases for converted folders: a LLaMA with as many heads for keys as for queries, ImageBind, three decoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import tiny
import torch
from components import TINY
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from anyx.converters.folders import shipped
from anyx.converters.systems import convert
from anyx.encoders import ImageBindEncoder
from anyx.registry import resolve


class Bases(NamedTuple):
    """Paths of what a folder stands on, and the values of its YAML that make its parts small."""

    paths: dict[str, str]
    inputs: list[str]
    outputs: list[str]


class Converted(NamedTuple):
    """A small checkpoint, its file, the folder made of it."""

    state: dict[str, Tensor]
    file: Path
    folder: Path
    bases: Bases


def llama(rows: int = 330) -> LlamaForCausalLM:
    """LLaMA-1's form: no grouped heads, untied tables."""
    config = LlamaConfig(
        vocab_size=rows,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def bases(folder: Path) -> Bases:
    """Write them all, and say what of the shipped YAML is replaced."""
    llama().save_pretrained(folder / "llm")
    tiny.tokenizer().save_pretrained(folder / "llm")
    inputs = imagebind(folder / "imagebind.safetensors")
    raw = shipped("nextgpt")
    outputs = []
    for key, port in raw["outputs"].items():
        name = port["decoder"]["type"]
        resolve("decoders", name)(**TINY["decoders"][name][0]).save(folder / name)
        outputs += [f"outputs.{key}.decoder.path={folder / name}", f"outputs.{key}.decoder.steps=2"]
    paths = {"llm": str(folder / "llm"), "imagebind": str(folder / "imagebind.safetensors")}
    return Bases(paths, ["llm.dtype=float32", *inputs], outputs)


def imagebind(file: Path) -> list[str]:
    """Write a small ImageBind, and say what of a shipped YAML's encoders is replaced."""
    trunks = {one["trunk"]: one for one in TINY["encoders"]["imagebind"] if "output" not in one}
    state = {}
    for sizes in trunks.values():
        state |= ImageBindEncoder(**sizes).state_dict()
    save_file(state, file)
    return [
        f"encoders.{name}.{key}={value}"
        for name, node in shipped("nextgpt")["encoders"].items()
        for key, value in (trunks[node["trunk"]] | {"clips": 1}).items()
    ]


def merged(body: LlamaForCausalLM, state: dict[str, torch.Tensor], rank: int, alpha: int = 32) -> LlamaForCausalLM:
    """The body with a checkpoint's LoRA in its matrices: W + alpha / r B A, in float32."""
    with torch.no_grad():
        for name, parameter in body.named_parameters():
            stem = f"llama_model.base_model.model.{name.removesuffix('.weight')}"
            if f"{stem}.lora_A.default.weight" in state:
                a, b = (state[f"{stem}.lora_{half}.default.weight"].float() for half in "AB")
                parameter += alpha / rank * b @ a
    return body


def again(converted: Converted, out: Path, state: Any = None, **settings: Any) -> Path:
    """Convert another file, or with other options."""
    if state is not None:
        torch.save(state, out.with_suffix(".pt"))
    file = converted.file if state is None else out.with_suffix(".pt")
    overrides = [*converted.bases.inputs, *converted.bases.outputs]
    settings = {"bases": converted.bases.paths, "overrides": overrides, "any_size": True} | settings
    return convert("nextgpt", file, out, **settings).path
