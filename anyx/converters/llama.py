"""What systems over LLaMA and ImageBind share: PandaGPT, and NExT-GPT, which grew from it.

LoRA on the four projections of every attention, and one linear map from ImageBind's embedding to an LLM token that
every input shares.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anyx.converters.keys import Rule

OWNER = "image"  # the input under whose name the shared projection is stored
SIDES = {"side": ("q_proj", "k_proj", "v_proj", "o_proj")}


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
