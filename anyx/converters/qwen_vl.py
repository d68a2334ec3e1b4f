"""Qwen-VL and Qwen-VL-Chat (arXiv 2308.12966; github.com/QwenLM/Qwen-VL): the whole model, tower and LLM with it.

The LLM becomes a Qwen2, which holds the same network: `c_attn` cut in queries, keys and values with their biases, `w1`
the `up` and `w2` the `gate` of the MLP, the two `c_proj` its `o` and `down`. What Qwen-7B's code does past the length
that it was trained on (rotations stretched by the length, queries scaled by its logarithm) Qwen2 has not.

The tower's fused map has queries, keys and values of one head after another, ours of all heads. `visual.proj` stands on
the right of what it multiplies, our map on the left. `attn_pool.pos_embed` is fixed, and computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, ClassVar

import torch
from torch import Tensor

from anyx.config import Config
from anyx.converters.checkpoints import number
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.pieces import QKV, UNREAD, by_head, by_kind, cut, hold, joined, plain, require_heads
from anyx.converters.systems import Converter, Sizes, State
from anyx.latents import grid_waves

WORDS = {"leaf": ("weight", "bias")}
TOWER, OURS = "encoders.vision.", "inputs.image.projector."
HEADS = 16  # of the tower; a file does not say it
PROJ, POSITIONS = f"{OURS}proj_out.weight", f"{UNREAD}pos_embed"
BASE, EPS = 10000.0, 1e-6  # of Qwen-7B's rotations and norms, where no config.json lies beside the file


def language_rules() -> list[Rule]:
    """Qwen-7B."""
    theirs, ours = "transformer.h.{layer}.", "llm.body.model.layers.{layer}."
    names = {
        "attn.c_attn.weight": ("self_attn.qkv_proj.weight", "3*width width"),
        "attn.c_attn.bias": ("self_attn.qkv_proj.bias", "3*width"),
        "attn.c_proj.weight": ("self_attn.o_proj.weight", "width width"),
        "mlp.w1.weight": ("mlp.up_proj.weight", "inner width"),
        "mlp.w2.weight": ("mlp.gate_proj.weight", "inner width"),
        "mlp.c_proj.weight": ("mlp.down_proj.weight", "width inner"),
        "ln_1.weight": ("input_layernorm.weight", "width"),
        "ln_2.weight": ("post_attention_layernorm.weight", "width"),
    }
    return [
        Rule("transformer.wte.weight", "llm.body.model.embed_tokens.weight", "rows width"),
        *(Rule(f"{theirs}{name}", f"{ours}{mine}", shape) for name, (mine, shape) in names.items()),
        Rule("transformer.ln_f.weight", "llm.body.model.norm.weight", "width"),
        Rule("lm_head.weight", "llm.body.lm_head.weight", "rows width"),
    ]


def tower_rules(prefix: str) -> list[Rule]:
    """OpenCLIP's bigG."""
    block = "transformer.resblocks.{block}."
    names = {
        "conv1.weight": ("stem.weight", "tower 3 patch patch"),
        "positional_embedding": ("positions", "places tower"),
        "ln_pre.{leaf}": ("norm_pre.{leaf}", "tower"),
        f"{block}ln_1.{{leaf}}": ("blocks.{block}.norm_1.{leaf}", "tower"),
        f"{block}ln_2.{{leaf}}": ("blocks.{block}.norm_2.{leaf}", "tower"),
        f"{block}attn.in_proj.weight": ("blocks.{block}.attn.in_proj_weight", "3*tower tower"),
        f"{block}attn.in_proj.bias": ("blocks.{block}.attn.in_proj_bias", "3*tower"),
        f"{block}attn.out_proj.weight": ("blocks.{block}.attn.out_proj.weight", "tower tower"),
        f"{block}attn.out_proj.bias": ("blocks.{block}.attn.out_proj.bias", "tower"),
        f"{block}mlp.c_fc.weight": ("blocks.{block}.mlp.fc1.weight", "deep tower"),
        f"{block}mlp.c_fc.bias": ("blocks.{block}.mlp.fc1.bias", "deep"),
        f"{block}mlp.c_proj.weight": ("blocks.{block}.mlp.fc2.weight", "tower deep"),
        f"{block}mlp.c_proj.bias": ("blocks.{block}.mlp.fc2.bias", "tower"),
    }
    return [Rule(f"{prefix}{name}", f"{TOWER}{ours}", shape) for name, (ours, shape) in names.items()]


def pool_rules(prefix: str) -> list[Rule]:
    """The cross-attention of learned queries."""
    attn = f"{OURS}resampler.blocks.0.attn."
    return [
        Rule(f"{prefix}pos_embed", POSITIONS, "queries width"),
        Rule(f"{prefix}query", f"{OURS}resampler.latents", "queries width"),
        Rule(f"{prefix}kv_proj.weight", f"{OURS}proj_in.weight", "width tower"),
        Rule(f"{prefix}attn.in_proj_weight", f"{attn}in_proj_weight", "3*width width"),
        Rule(f"{prefix}attn.in_proj_bias", f"{attn}in_proj_bias", "3*width"),
        Rule(f"{prefix}attn.out_proj.weight", f"{attn}out_proj.weight", "width width"),
        Rule(f"{prefix}attn.out_proj.bias", f"{attn}out_proj.bias", "width"),
        Rule(f"{prefix}ln_q.{{leaf}}", f"{OURS}resampler.blocks.0.norm_latents.{{leaf}}", "width"),
        Rule(f"{prefix}ln_kv.{{leaf}}", f"{OURS}resampler.blocks.0.norm_context.{{leaf}}", "width"),
    ]


def visual_rules(prefix: str) -> list[Rule]:
    """Everything from pixels to the LLM's width."""
    last = [
        Rule(f"{prefix}ln_post.{{leaf}}", f"{OURS}norm_after.{{leaf}}", "width"),
        Rule(f"{prefix}proj", PROJ, "width width"),
    ]
    return [*tower_rules(prefix), *pool_rules(f"{prefix}attn_pool."), *last]


def turned(name: str, tensor: Tensor, heads: int, *, back: bool) -> Tensor:
    """A tensor of the visual part as ours, or `back` as theirs."""
    if name.startswith(TOWER) and ".in_proj_" in name:
        return (by_head if back else by_kind)(tensor, heads)
    return tensor.T.contiguous() if name == PROJ else tensor


class QwenVL(Converter):
    """It has no options."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "a folder with Qwen-7B's tokenizer, as transformers reads it, and the config.json of a Qwen2 of its size"
    }
    notes: ClassVar[Sequence[str]] = ("Converted from Qwen-VL. Its weights are under the Tongyi Qianwen licence.",)

    def __init__(self) -> None:
        llm = {"rows": 151_936, "width": 4096, "layer": 32, "inner": 11008}
        eye = {"tower": 1664, "patch": 14, "places": 256, "block": 48, "deep": 8192, "queries": 256}
        self.published = {"7b": llm | eye}
        self.layouts = {"original": Layout([*language_rules(), *visual_rules("transformer.visual.")], WORDS)}

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/qwen_vl.yaml` on this LLM, with a tower of the file's sizes."""
        raw = shipped("qwen_vl")
        vision = {name: value for name, value in raw["encoders"]["vision"].items() if name != "path"}
        vision |= {"width": sizes["tower"], "layers": sizes["block"], "hidden": sizes["deep"], "patch": sizes["patch"]}
        vision |= {"table": isqrt(sizes["places"]), "heads": HEADS}
        raw["llm"]["path"], raw["encoders"]["vision"] = bases["llm"], vision
        raw["inputs"]["image"]["projector"]["tokens"] = sizes["queries"]
        return raw

    def said(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Rotations and norms are Qwen-7B's, whatever Qwen2 the base is."""
        base, eps = number(told, "rotary_emb_base") or BASE, number(told, "layer_norm_epsilon") or EPS
        said: dict[str, Any] = {
            "rope_parameters": {"rope_type": "default", "rope_theta": float(base)},
            "rms_norm_eps": float(eps),
        }
        if (heads := number(told, "num_attention_heads")) is not None:
            said |= {"num_attention_heads": heads, "num_key_value_heads": heads}
        return said

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps cut and turned; the fixed positions must be what is computed here."""
        table = state[POSITIONS]
        hold("attn_pool.pos_embed", table, grid_waves(isqrt(len(table)), table.shape[1], table.device))
        found = {name: turned(name, tensor, HEADS, back=False) for name, tensor in state.items()}
        return cut(found, *QKV), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The same maps back; positions are computed where the folder has none of a file."""
        require_heads("qwen_vl", config, HEADS)
        found = joined(plain("qwen_vl", state, tables, config), *QKV)
        queries = found.get(f"{OURS}resampler.latents", torch.zeros(0, 4))
        if POSITIONS not in found:
            table = grid_waves(isqrt(len(queries)), queries.shape[1], queries.device)
            found[POSITIONS] = table.to(queries.dtype)
        return {name: turned(name, tensor, HEADS, back=True) for name, tensor in found.items()}
