"""What systems over LLaMA share, and those over LLaMA and ImageBind: PandaGPT, and NExT-GPT, which grew from it.

LoRA on the four projections of every attention, and one linear map from ImageBind's embedding to an LLM token that
every input shares. Of files that hold a LLaMA: what their settings say of it, and the rates of its rotations, which
older code saved with every layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from anyx.converters import checkpoints
from anyx.converters.keys import Rule
from anyx.converters.pieces import UNREAD, hold

OWNER = "image"  # the input under whose name the shared projection is stored
SIDES = {"side": ("q_proj", "k_proj", "v_proj", "o_proj")}
RATES = ".inv_freq"
TOLD = ("num_attention_heads", "num_key_value_heads", "rms_norm_eps", "max_position_embeddings")


def lora_rules(prefix: str, adapter: str = ".default") -> list[Rule]:
    """LoRA as PEFT names it; releases before 0.3 write no name of the adapter."""
    layer = "model.layers.{layer}.self_attn.{side}.lora_"
    shapes = {"A": "rank width", "B": "width rank"}
    return [
        Rule(f"{prefix}{layer}{half}{adapter}.weight", f"llm.lora.{layer}{half}.weight", shape)
        for half, shape in shapes.items()
    ]


def projection_rules() -> list[Rule]:
    """The linear map from ImageBind's embedding to the LLM's width."""
    ours = f"inputs.{OWNER}.projector.proj"
    return [
        Rule("llama_proj.weight", f"{ours}.weight", "width encoded"),
        Rule("llama_proj.bias", f"{ours}.bias", "width"),
    ]


def llama_and_imagebind(raw: Mapping[str, Any], sizes: Mapping[str, int], bases: Mapping[str, str]) -> dict[str, Any]:
    """A YAML with its paths, LoRA of the file's rank (none where it has none), and one projection for every input.

    Both systems train LoRA with alpha 32 and dropout 0.1; a file does not say it.
    """
    lora = (
        {"r": sizes["rank"], "alpha": 32, "dropout": 0.1, "targets": list(SIDES["side"])} if "rank" in sizes else None
    )
    projectors = {key: {"share": f"inputs.{OWNER}.projector"} for key in raw["inputs"]} | {OWNER: {"type": "linear"}}
    return {
        **raw,
        "llm": {**raw["llm"], "path": bases["llm"], "lora": lora},
        "encoders": {name: {**node, "path": bases["imagebind"]} for name, node in raw["encoders"].items()},
        "inputs": {key: {**port, "projector": projectors[key]} for key, port in raw["inputs"].items()},
    }


def llama_said(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint's config.json says of its LLM beyond the shapes of its tensors.

    ValueError for what is no number, and for stretched rotations (`rope_scaling`): none of these systems has them.
    """
    if told.get("rope_scaling") is not None:
        raise ValueError(f"rope_scaling: {told['rope_scaling']!r} of the checkpoint's settings is not converted")
    theta = checkpoints.number(told, "rope_theta")
    rope = {} if theta is None else {"rope_parameters": {"rope_type": "default", "rope_theta": float(theta)}}
    return {name: found for name in TOLD if (found := checkpoints.number(told, name)) is not None} | rope


def rate_rule(prefix: str) -> Rule:
    """The rates of rotations of every layer."""
    name = f"layers.{{layer}}.self_attn.rotary_emb{RATES}"
    return Rule(f"{prefix}{name}", f"{UNREAD}{name}", "half")


def hold_rates(state: Mapping[str, Tensor]) -> None:
    """A file's rates must be LLaMA's own; ValueError where they are not."""
    for name, table in state.items():
        if name.startswith(UNREAD) and name.endswith(RATES):
            half = len(table)
            hold(name.removeprefix(UNREAD), table, 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half))
