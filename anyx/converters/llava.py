"""LLaVA-1.5, BakLLaVA and LLaVA-NeXT (github.com/haotian-liu/LLaVA, LLaVA-VL/LLaVA-NeXT, llava-hf's copies).

A checkpoint is the whole model, with or without its vision tower; or LoRA with `non_lora_trainables.bin` beside it; or
the projector of the first stage alone (`mm_projector.bin`). Names are the published code's or transformers' (as its
files have them before and since version 5, and as its model has them in memory). A fine-tuned LLM or tower is written
into the folder; what a checkpoint lacks is named by `--base`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.pieces import plain
from anyx.converters.systems import Converter, Sizes, State

OURS = "inputs.image.projector."
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
LLAMA = {  # of every layer of the LLM
    "self_attn.q_proj": "width width",
    "self_attn.k_proj": "kv width",
    "self_attn.v_proj": "kv width",
    "self_attn.o_proj": "width width",
    "mlp.gate_proj": "inner width",
    "mlp.up_proj": "inner width",
    "mlp.down_proj": "width inner",
}
PATCHES = {"mm_vision_select_feature": "patch", "vision_feature_select_strategy": "default"}
FITS = {"pad": "pad", "square": "crop"}  # what becomes of a picture that is no square
MERGE = "spatial_unpad"
NORMS = ("input_layernorm", "post_attention_layernorm")
SIDES = {"leaf": ("weight", "bias"), "side": ("q_proj", "k_proj", "v_proj", "out_proj")}
SPELLINGS = {  # layers of the LLM, its head, the tower, the projector, the line end
    "original": (
        "model.", "lm_head.", "model.vision_tower.vision_tower.vision_model.", "model.mm_projector.", "model.",
    ),
    "transformers 4": (
        "language_model.model.", "language_model.lm_head.", "vision_tower.vision_model.", "multi_modal_projector.", "",
    ),
    "transformers 5": (
        "language_model.model.", "language_model.lm_head.", "vision_tower.", "multi_modal_projector.", "",
    ),
    "transformers in memory": (
        "model.language_model.", "lm_head.", "model.vision_tower.", "model.multi_modal_projector.", "model.",
    ),
}  # fmt: skip


def language_rules(prefix: str, head: str) -> list[Rule]:
    """A Llama or Mistral, whole."""
    ours = "llm.body.model."
    layer = "layers.{layer}."
    matrices = [Rule(f"{prefix}{layer}{n}.weight", f"{ours}{layer}{n}.weight", shape) for n, shape in LLAMA.items()]
    norms = [Rule(f"{prefix}{layer}{n}.weight", f"{ours}{layer}{n}.weight", "width") for n in NORMS]
    return [
        Rule(f"{prefix}embed_tokens.weight", f"{ours}embed_tokens.weight", "rows width"),
        *matrices,
        *norms,
        Rule(f"{prefix}norm.weight", f"{ours}norm.weight", "width"),
        Rule(f"{head}weight", "llm.body.lm_head.weight", "rows width"),
    ]


def tower_rules(prefix: str) -> list[Rule]:
    """CLIP's vision tower."""
    block = "encoder.layers.{block}."
    shapes = {
        "embeddings.class_embedding": "tower",
        "embeddings.patch_embedding.weight": "tower 3 patch patch",
        "embeddings.position_embedding.weight": "places tower",
        f"{block}self_attn.{{side}}.weight": "tower tower",
        f"{block}self_attn.{{side}}.bias": "tower",
        f"{block}mlp.fc1.weight": "deep tower",
        f"{block}mlp.fc1.bias": "deep",
        f"{block}mlp.fc2.weight": "tower deep",
        f"{block}mlp.fc2.bias": "tower",
    }
    norms = ("pre_layrnorm", "post_layernorm", f"{block}layer_norm1", f"{block}layer_norm2")
    shapes |= {f"{norm}.{{leaf}}": "tower" for norm in norms}
    return [Rule(f"{prefix}{name}", f"encoders.vision.tower.{name}", shape) for name, shape in shapes.items()]


def projector_rules(prefix: str, line: str | None, *, linear: bool = False) -> list[Rule]:
    """One linear map, or two; with a `line` prefix the line end after them, and our projector that knows of it."""
    inner = f"{OURS}proj" if line is None else f"{OURS}mlp.proj"
    first, second = ("linear_1", "linear_2") if "multi_modal" in prefix else ("0", "2")
    if linear:
        return [
            Rule(f"{prefix}weight", f"{inner}.weight", "width encoded"),
            Rule(f"{prefix}bias", f"{inner}.bias", "width"),
        ]
    rules = [
        Rule(f"{prefix}{first}.weight", f"{inner}.0.weight", "width encoded"),
        Rule(f"{prefix}{first}.bias", f"{inner}.0.bias", "width"),
        Rule(f"{prefix}{second}.weight", f"{inner}.2.weight", "second width"),
        Rule(f"{prefix}{second}.bias", f"{inner}.2.bias", "second"),
    ]
    return rules if line is None else [*rules, Rule(f"{line}image_newline", f"{OURS}newline", "line")]


def lora_rules() -> list[Rule]:
    """LoRA on every linear map of the LLM's layers, as PEFT's files name it."""
    rules = []
    for name, shape in LLAMA.items():
        out, into = shape.split()
        stem = f"model.layers.{{layer}}.{name}.lora_"
        for half, size in (("A", f"rank {into}"), ("B", f"{out} rank")):
            rules.append(Rule(f"base_model.model.{stem}{half}.weight", f"llm.lora.{stem}{half}.weight", size))
    return rules


class LLaVA(Converter):
    """It has no options; which of its forms a file has is read from its names."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Vicuna v1.5, Mistral or Yi, whose configuration and tokenizer the checkpoint shares",
        "vision": "openai/clip-vit-large-patch14-336",
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from LLaVA. Its weights are under the terms of the LLM that it grew from.",
    )

    def __init__(self) -> None:
        shared = {"encoded": 1024, "tower": 1024, "places": 577, "patch": 14, "block": 24, "deep": 4096, "rank": 128}
        sizes = {
            "7b": {"width": 4096, "kv": 4096, "inner": 11008, "layer": 32, "rows": 32000},
            "13b": {"width": 5120, "kv": 5120, "inner": 13824, "layer": 40, "rows": 32000},
            "mistral 7b": {"width": 4096, "kv": 1024, "inner": 14336, "layer": 32, "rows": 32000},
            "yi 34b": {"width": 7168, "kv": 1024, "inner": 20480, "layer": 60, "rows": 64000},
        }
        known = {name: {**shared, **one, "second": one["width"], "line": one["width"]} for name, one in sizes.items()}
        more = {f"{name}, rows as of llava-hf": {**one, "rows": one["rows"] + 64} for name, one in known.items()}
        self.published = known | more
        self.layouts = {}
        for lines in (False, True):
            name = "lines" if lines else "no lines"
            for spelling, (layers, head, tower, projector, line) in SPELLINGS.items():
                rules = [*language_rules(layers, head), *projector_rules(projector, line if lines else None)]
                self.layouts[f"{spelling}, {name}"] = Layout(rules, SIDES)
                self.layouts[f"{spelling}, {name}, tower"] = Layout([*rules, *tower_rules(tower)], SIDES)
            for prefix, more_rules, what in (("", [], "projector"), ("base_model.model.", lora_rules(), "lora")):
                rules = projector_rules(f"{prefix}model.mm_projector.", f"{prefix}model." if lines else None)
                self.layouts[f"{what}, {name}"] = Layout([*more_rules, *rules], SIDES)
        linear = projector_rules("model.mm_projector.", None, linear=True)
        self.layouts["projector of one map"] = Layout(linear, SIDES)
        self.layouts["original of one map"] = Layout([*language_rules("model.", "lm_head."), *linear], SIDES)

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """The YAML of LLaVA-NeXT where the file has a line end, else of LLaVA-1.5."""
        raw = shipped("llava_next" if "line" in sizes else "llava15")
        rank = sizes.get("rank", 0)
        lora = {"r": rank, "alpha": 2 * rank, "dropout": 0.05, "targets": list(TARGETS)} if rank else None
        grouped = "rows" in sizes and sizes["kv"] != sizes["width"] and "line" in sizes
        template = ("llava_chatml" if sizes["width"] == 7168 else "llava_mistral") if grouped else "llava_v1"
        projector = raw["inputs"]["image"]["projector"] if "second" in sizes else {"type": "linear"}
        return {
            **raw,
            "llm": {
                **raw["llm"],
                "path": bases["llm"],
                "template": template,
                "lora": lora if "rank" in sizes else None,
            },
            "encoders": {"vision": {**raw["encoders"]["vision"], "path": bases["vision"]}},
            "inputs": {"image": {**raw["inputs"]["image"], "projector": projector}},
        }

    def heeded(self, raw: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
        """A checkpoint's own layer, form of pictures and LoRA scale, from its config.json and adapter_config.json."""
        vision, llm, picture = dict(raw["encoders"]["vision"]), dict(raw["llm"]), raw["inputs"]["image"]
        for name, known in PATCHES.items():
            if told.get(name, known) != known:
                raise ValueError(f"{name}: {told[name]!r} is not {known!r}; the class token is never handed on here")
        if (ratio := told.get("image_aspect_ratio")) is not None:
            tiled = re.fullmatch(r"anyres(?:_max_(\d+))?", str(ratio)) if "grids" in vision else None
            if tiled is None and ("grids" in vision or ratio not in FITS):
                allowed = "anyres, anyres_max_N" if "grids" in vision else ", ".join(FITS)
                raise ValueError(f"image_aspect_ratio: {ratio!r} is not one of {allowed}")
            if tiled is None:
                vision["fit"] = FITS[ratio]
            elif tiled[1]:
                picture = {**picture, "projector": {**picture["projector"], "limit": int(tiled[1])}}
        merge = told.get("mm_patch_merge_type", MERGE)
        if "grids" in vision and merge != MERGE:
            raise ValueError(f"mm_patch_merge_type: {merge!r} is not {MERGE!r}, the only one that is converted")
        layer = told.get("mm_vision_select_layer", told.get("vision_feature_layer"))
        if layer is not None:
            vision["layer"] = layer
        if "grids" in vision and told.get("image_grid_pinpoints") is not None:
            grids, native = told["image_grid_pinpoints"], str(told.get("model_type")).startswith("llava_next")
            if not isinstance(grids, list):
                raise ValueError(
                    f"image_grid_pinpoints: {grids!r} is no list of [width, height]; give encoders.vision.grids"
                )
            # transformers lists (height, width), and rounds before it leaves padding out
            vision["grids"] = [grid[::-1] if native else list(grid) for grid in grids]
            vision["merge"] = "unpad_rounded" if native else "unpad"
        if llm["lora"] is not None and told.get("lora_alpha") is not None:
            llm["lora"] = {**llm["lora"], "alpha": told["lora_alpha"]}
        return {**raw, "llm": llm, "encoders": {"vision": vision}, "inputs": {"image": picture}}

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The names are all that changes."""
        return dict(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The names are all that changes."""
        return plain("llava", state, tables, config)
