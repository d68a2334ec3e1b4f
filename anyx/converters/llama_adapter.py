"""LLaMA-Adapter V2, multimodal, and ImageBind-LLM (arXiv 2304.15010, 2309.03905; github.com/OpenGVLab/LLaMA-Adapter).

A file holds what training moved, under "model": the map from the encoder, prompts and gates; after the second stage
also biases and norms of the LLM, and LoRA where it was on. A file that holds the LLM too is read with it. Its names are
Meta's (`meta.py`). LoRA there is not scaled. `new_gate`, a switch of the published code, is of no known shape: a file
with it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters import meta
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.pieces import plain
from anyx.converters.systems import Converter, Sizes, State

EYE = "inputs.image.projector."
LEAVES = {"leaf": ("weight", "bias")}
SIZES = {"width": 4096, "heads": 32, "layer": 32, "inner": 11008, "rows": 32000, "rank": 16}
BRIDGE = {"norm": ("norm", "width"), "f1": ("gate", "4*width width"), "f2": ("down", "width 4*width")}
BRIDGE |= {"f3": ("up", "4*width width")}


def query_block_rules() -> list[Rule]:
    """V2's map from CLIP's tokens to as many vectors as a layer has prompts."""
    block, ours = "visual_blocks.{block}.", f"{EYE}blocks.{{block}}."
    names = {
        "clip_proj.weight": ("proj_in.weight", "hidden encoded"),
        "clip_proj.bias": ("proj_in.bias", "hidden"),
        "clip_proj_norm.{leaf}": ("norm_in.{leaf}", "hidden"),
        "visual_query.weight": ("queries", "tokens hidden"),
        "visual_proj.weight": ("proj_out.weight", "width hidden"),
        "visual_proj.bias": ("proj_out.bias", "width"),
        "visual_proj_norm.{leaf}": ("norm_out.{leaf}", "width"),
    }
    blocks = {
        "norm1.{leaf}": ("norm_1.{leaf}", "hidden"),
        "attn.qkv.weight": ("attn.in_proj_weight", "3*hidden hidden"),
        "attn.qkv.bias": ("attn.in_proj_bias", "3*hidden"),
        "attn.proj.weight": ("attn.out_proj.weight", "hidden hidden"),
        "attn.proj.bias": ("attn.out_proj.bias", "hidden"),
        "norm2.{leaf}": ("norm_2.{leaf}", "hidden"),
        "mlp.fc1.weight": ("mlp.fc1.weight", "4*hidden hidden"),
        "mlp.fc1.bias": ("mlp.fc1.bias", "4*hidden"),
        "mlp.fc2.weight": ("mlp.fc2.weight", "hidden 4*hidden"),
        "mlp.fc2.bias": ("mlp.fc2.bias", "hidden"),
    }
    return [
        *(Rule(theirs, f"{EYE}{name}", shape) for theirs, (name, shape) in names.items()),
        *(Rule(f"{block}{theirs}", f"{ours}{name}", shape) for theirs, (name, shape) in blocks.items()),
    ]


def bridge_rules() -> list[Rule]:
    """ImageBind-LLM's map from an embedding to a vector: there its three blocks are counted from 1."""
    rules = [
        Rule("image_bind_proj.weight", f"{EYE}proj.weight", "width encoded"),
        Rule("image_bind_proj.bias", f"{EYE}proj.bias", "width"),
    ]
    for block in range(3):
        for theirs, (ours, shape) in BRIDGE.items():
            rules.append(Rule(f"image_bind_{theirs}_{block + 1}.weight", f"{EYE}blocks.{block}.{ours}.weight", shape))
    return rules


def stages(first: Sequence[Rule]) -> dict[str, Layout]:
    """The spellings of a system's files by what they hold, from the rules of its first stage's."""
    found = {"first stage": list(first), "biases": [*first, *meta.tuned_rules()]}
    found["biases and lora"] = [*found["biases"], *meta.lora_rules()]
    for name in ("biases", "biases and lora"):
        found[f"{name}, whole"] = [*found[name], *meta.body_rules()]
    return {name: Layout(rules, LEAVES) for name, rules in found.items()}


def adapted(raw: dict[str, Any], sizes: Sizes, llm: str, tokens: int) -> dict[str, Any]:
    """A YAML on this LLM with prompts, LoRA and tuned parts as the file has them."""
    settings = raw["llm"]
    settings["path"] = llm
    rank = sizes.get("rank")
    settings["lora"] = None if rank is None else {**settings["lora"], "r": rank, "alpha": rank}
    settings["adapters"]["prompts"] |= {"layers": sizes["prompts"] // tokens, "tokens": tokens}
    if "inner" not in sizes:
        del settings["adapters"]["tuned"]
    return raw


class LlamaAdapterV2(Converter):
    """It has no options. Red and blue of its pictures are swapped, as they were in training and demo."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "LLaMA-7B, as transformers reads it",
        "vision": "openai/clip-vit-large-patch14",
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from LLaMA-Adapter V2. Its weights are under GPL-3.0, the LLM under LLaMA's licence.",
        "It was trained on pictures with red and blue swapped, and swaps them itself (`encoders.vision.bgr`).",
    )

    def __init__(self) -> None:
        self.published = {"7b": SIZES | {"prompts": 310, "tokens": 10, "hidden": 768, "encoded": 768, "block": 8}}
        self.layouts = stages([*meta.prompt_rules("adapter_query"), *query_block_rules()])

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/llama_adapter_v2.yaml` on these bases, with the file's sizes."""
        raw = adapted(shipped("llama_adapter_v2"), sizes, bases["llm"], sizes["tokens"])
        raw["encoders"]["vision"] |= {"path": bases["vision"], "bgr": True}
        raw["inputs"]["image"]["projector"] |= {
            "tokens": sizes["tokens"],
            "depth": sizes["block"],
            "hidden": sizes["hidden"],
        }
        return raw

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Meta's order of rows becomes transformers'."""
        return meta.to_ours(state, len(state[f"{EYE}queries"])), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The way back."""
        return meta.to_theirs(plain("llama_adapter_v2", state, tables, config), config)


class ImageBindLLM(Converter):
    """It has no options."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Open-Chinese-LLaMA-7B, or the LLaMA-7B that a file was trained over, as transformers reads it",
        "imagebind": "imagebind_huge.pth",
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from ImageBind-LLM. Its weights are under GPL-3.0, ImageBind's CC-BY-NC-4.0, the LLM under LLaMA's.",
    )

    def __init__(self) -> None:
        self.published = {"7b": SIZES | {"prompts": 32, "encoded": 1024}}
        self.layouts = stages([*meta.prompt_rules("prefix_query"), *bridge_rules()])

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/imagebind_llm.yaml` on these bases, with the file's sizes."""
        raw = adapted(shipped("imagebind_llm"), sizes, bases["llm"], 1)
        for encoder in raw["encoders"].values():
            encoder["path"] = bases["imagebind"]
        return raw

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Meta's order of rows becomes transformers'; a layer has one prompt."""
        return meta.to_ours(state, 1), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The way back."""
        return meta.to_theirs(plain("imagebind_llm", state, tables, config), config)
