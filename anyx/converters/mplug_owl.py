"""mPLUG-Owl and mPLUG-Owl2 (arXiv 2304.14178, 2311.04257; github.com/X-PLUG/mPLUG-Owl): the whole models.

Both have CLIP's tower with one map for queries, keys and values, and an abstractor with three, where ours are the other
way round. mPLUG-Owl2 has the keys, the values and the norms of every layer of the LLM twice: `multiway.0` becomes a
Llama's, `multiway.1` the adapter's. The rates of rotations and mPLUG-Owl2's positions are fixed tables, which some
files hold and others do not.

Not in what this was written from, and so an assumption: the rows of the tower's map are queries, keys and values of one
head after another, as Megatron-LM lays a map of that name; and the class token and the table of positions have leading
dimensions of one, as the abstractor's queries and end have. The names in the tower are those that users' reports list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, ClassVar

import torch
from torch import Tensor

from anyx.config import Config
from anyx.converters.checkpoints import number, section
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.llama import hold_rates, llama_said, rate_rule
from anyx.converters.llava import LLAMA, NORMS, language_rules
from anyx.converters.pieces import UNREAD, by_head, by_kind, cut, hold, joined, plain, require_heads
from anyx.converters.systems import Converter, Sizes, State
from anyx.latents import grid_waves, waves

WORDS = {"leaf": ("weight", "bias")}
TOWER, OURS = "encoders.vision.", "inputs.image.projector."
HEADS = 16  # of the tower; a file does not say it
KINDS = {  # of a block of the abstractor: ours in one, theirs in three
    leaf: (f".attn.in_proj_{leaf}", tuple(f".attn.{kind}.{leaf}" for kind in ("query", "key", "value")))
    for leaf in WORDS["leaf"]
}
LEADING = {f"{TOWER}class_embedding": 2, f"{TOWER}positions": 1, f"{OURS}resampler.latents": 1}  # dimensions of one
TWICE = ("self_attn.k_proj", "self_attn.v_proj", *NORMS)  # of every layer of mPLUG-Owl2's LLM
LARGE = {"tower": 1024, "patch": 14, "block": 24, "deep": 4096, "queries": 64, "depth": 6, "feed": 2816}
SEVEN = {"rows": 32_000, "width": 4096, "kv": 4096, "inner": 11008, "layer": 32, "half": 64}


def tower_rules(prefix: str) -> list[Rule]:
    """CLIP's vision tower."""
    block = "encoder.layers.{block}."
    names = {
        "embeddings.cls_token": ("class_embedding", "1 1 tower"),
        "embeddings.patch_embed.weight": ("stem.weight", "tower 3 patch patch"),
        "embeddings.position_embedding": ("positions", "1 places tower"),
        "embeddings.pre_layernorm.{leaf}": ("norm_pre.{leaf}", "tower"),
        "post_layernorm.{leaf}": ("norm_post.{leaf}", "tower"),
        f"{block}input_layernorm.{{leaf}}": ("blocks.{block}.norm_1.{leaf}", "tower"),
        f"{block}post_attention_layernorm.{{leaf}}": ("blocks.{block}.norm_2.{leaf}", "tower"),
        f"{block}self_attn.query_key_value.weight": ("blocks.{block}.attn.in_proj_weight", "3*tower tower"),
        f"{block}self_attn.query_key_value.bias": ("blocks.{block}.attn.in_proj_bias", "3*tower"),
        f"{block}self_attn.dense.weight": ("blocks.{block}.attn.out_proj.weight", "tower tower"),
        f"{block}self_attn.dense.bias": ("blocks.{block}.attn.out_proj.bias", "tower"),
        f"{block}mlp.fc1.weight": ("blocks.{block}.mlp.fc1.weight", "deep tower"),
        f"{block}mlp.fc1.bias": ("blocks.{block}.mlp.fc1.bias", "deep"),
        f"{block}mlp.fc2.weight": ("blocks.{block}.mlp.fc2.weight", "tower deep"),
        f"{block}mlp.fc2.bias": ("blocks.{block}.mlp.fc2.bias", "tower"),
    }
    return [Rule(f"{prefix}{name}", f"{TOWER}{ours}", shape) for name, (ours, shape) in names.items()]


def abstractor_rules(prefix: str, queries: str) -> list[Rule]:
    """The visual abstractor; `queries` is the name of its learned queries."""
    theirs, ours = f"{prefix}encoder.layers.{{depth}}.crossattention.", f"{OURS}resampler.blocks.{{depth}}."
    names = {f"attention.{kind}": f"attn.{kind}" for kind in ("query", "key", "value")}
    names |= {"output.out_proj": "attn.out_proj"}
    squares = [
        Rule(f"{theirs}{name}.{leaf}", f"{ours}{mine}.{leaf}", shape)
        for name, mine in names.items()
        for leaf, shape in (("weight", "tower tower"), ("bias", "tower"))
    ]
    norms = {"norm1": "norm_latents", "normk": "norm_context", "output.norm2": "norm_mlp"}
    mlp = {
        "w1.weight": "feed tower", "w1.bias": "feed", "w2.weight": "tower feed", "w2.bias": "tower",
        "w3.weight": "feed tower", "w3.bias": "feed", "ffn_ln.{leaf}": "feed",
    }  # fmt: skip
    return [
        Rule(queries, f"{OURS}resampler.latents", "1 queries tower"),
        *squares,
        *(Rule(f"{theirs}{name}.{{leaf}}", f"{ours}{mine}.{{leaf}}", "tower") for name, mine in norms.items()),
        *(Rule(f"{theirs}output.mlp.{name}", f"{ours}mlp.{name}", shape) for name, shape in mlp.items()),
        Rule(f"{prefix}visual_fc.weight", f"{OURS}proj_out.weight", "width tower"),
        Rule(f"{prefix}visual_fc.bias", f"{OURS}proj_out.bias", "width"),
        Rule(f"{prefix}vit_eos", f"{OURS}end", "1 1 width"),
    ]


def twofold_rules() -> list[Rule]:
    """mPLUG-Owl2's LLM."""
    layer, body = "layers.{layer}.", "llm.body.model."
    shapes = {**LLAMA, **dict.fromkeys(NORMS, "width")}
    once = [
        Rule(f"model.{layer}{name}.weight", f"{body}{layer}{name}.weight", shape)
        for name, shape in shapes.items()
        if name not in TWICE
    ]
    twice = [
        Rule(f"model.{layer}{name}.multiway.{way}.weight", f"{ours}{layer}{name}.weight", shapes[name])
        for name in TWICE
        for way, ours in enumerate((body, "llm.adapters.adaptive."))
    ]
    return [
        Rule("model.embed_tokens.weight", f"{body}embed_tokens.weight", "rows width"),
        *once,
        *twice,
        Rule("model.norm.weight", f"{body}norm.weight", "width"),
        Rule("lm_head.weight", "llm.body.lm_head.weight", "rows width"),
    ]


def position_rules(prefix: str) -> list[Rule]:
    """mPLUG-Owl2's fixed positions of queries and of patches, in every block of the abstractor."""
    where = "encoder.layers.{depth}.crossattention.attention."
    shapes = {"q_pos_embed": "queries tower", "k_pos_embed": "grid tower"}
    return [Rule(f"{prefix}{where}{name}", f"{UNREAD}{{depth}}.{name}", shape) for name, shape in shapes.items()]


def standing(system: str, sizes: Sizes, llm: str) -> dict[str, Any]:
    """A shipped YAML on an LLM, with a tower and an abstractor of the file's sizes."""
    raw = shipped(system)
    vision = {name: value for name, value in raw["encoders"]["vision"].items() if name != "path"}
    vision |= {"width": sizes["tower"], "layers": sizes["block"], "hidden": sizes["deep"], "patch": sizes["patch"]}
    vision |= {"size": sizes["patch"] * isqrt(sizes["places"] - 1), "heads": HEADS}
    raw["llm"]["path"], raw["encoders"]["vision"] = llm, vision
    raw["inputs"]["image"]["projector"] |= {name: sizes[name] for name in ("depth", "feed")}
    raw["inputs"]["image"]["projector"]["tokens"] = sizes["queries"]
    return raw


def sighted(raw: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """A YAML with what the settings of a tower say of its norms."""
    vision = dict(raw["encoders"]["vision"])
    if (eps := number(told, "layer_norm_eps")) is not None:
        vision["eps"] = eps
    return {**raw, "encoders": {"vision": vision}}


def to_ours(state: State, heads: int = HEADS) -> dict[str, Tensor]:
    """The tower's map by kinds, the abstractor's three in one, no leading dimensions of one; tables held."""
    hold_rates(state)
    for name, table in state.items():
        if name.endswith("q_pos_embed"):
            hold(name.removeprefix(UNREAD), table, waves(torch.arange(len(table)), table.shape[1]))
        elif name.endswith("k_pos_embed"):
            hold(name.removeprefix(UNREAD), table, grid_waves(isqrt(len(table)), table.shape[1], table.device))
    found = {name: by_kind(x, heads) if mapped(name) else x for name, x in state.items()}
    found |= {name: found[name].flatten(0, ones) for name, ones in LEADING.items() if name in found}
    for whole, parts in KINDS.values():
        found = joined(found, whole, parts)
    return found


def to_theirs(state: State, heads: int = HEADS) -> dict[str, Tensor]:
    """The way back of `to_ours`."""
    tower = {name: by_head(x, heads) if mapped(name) else x for name, x in state.items() if name.startswith(TOWER)}
    found = {name: x for name, x in state.items() if name not in tower}
    for whole, parts in KINDS.values():
        found = cut(found, whole, parts)
    found |= tower
    return found | {name: found[name][(None,) * ones] for name, ones in LEADING.items() if name in found}


def mapped(name: str) -> bool:
    """Whether a tensor is the tower's map of queries, keys and values, or its bias."""
    return name.startswith(TOWER) and ".in_proj_" in name


class MPLUGOwl(Converter):
    """It has no options. A file holds whole maps, and no LoRA beside them."""

    bases: ClassVar[Mapping[str, str]] = {"llm": "LLaMA-7B, whose configuration and tokenizer the checkpoint shares"}
    notes: ClassVar[Sequence[str]] = ("Converted from mPLUG-Owl. Its weights are under LLaMA's licence.",)

    def __init__(self) -> None:
        rules = [
            *language_rules("language_model.model.", "language_model.lm_head."),
            *tower_rules("vision_model."),
            *abstractor_rules("abstractor.", "query_tokens"),
        ]
        self.published = {"7b": {**LARGE, **SEVEN, "places": 257}}
        rates = rate_rule("language_model.model.")
        self.layouts = {"rates": Layout([*rules, rates], WORDS), "plain": Layout(rules, WORDS)}

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/mplug_owl.yaml` on this LLM, without LoRA."""
        raw = standing("mplug_owl", sizes, bases["llm"])
        return {**raw, "llm": {**raw["llm"], "lora": None}}

    def heeded(self, raw: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
        """The tower's own norms."""
        return sighted(raw, section(told, "vision_config"))

    def said(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The LLM's own heads and norms."""
        return llama_said(section(told, "text_config"))

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps cut, joined and turned."""
        return to_ours(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The same back."""
        require_heads("mplug_owl", config, HEADS)
        return to_theirs(plain("mplug_owl", state, tables, config))


class MPLUGOwl2(Converter):
    """It has no options."""

    bases: ClassVar[Mapping[str, str]] = {"llm": "Llama 2 7B, whose configuration and tokenizer the checkpoint shares"}
    notes: ClassVar[Sequence[str]] = ("Converted from mPLUG-Owl2. Its weights are under Llama 2's licence.",)

    def __init__(self) -> None:
        abstractor = "model.visual_abstractor."
        rules = [
            *twofold_rules(),
            *tower_rules("model.vision_model."),
            *abstractor_rules(abstractor, f"{abstractor}query_embeds"),
        ]
        rates, positions = [rate_rule("model.")], position_rules(abstractor)
        self.published = {"7b": {**LARGE, **SEVEN, "places": 1025, "grid": 1024}}
        self.layouts = {
            "plain": Layout(rules, WORDS),
            "rates": Layout([*rules, *rates], WORDS),
            "positions": Layout([*rules, *positions], WORDS),
            "rates, positions": Layout([*rules, *rates, *positions], WORDS),
        }

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/mplug_owl2.yaml` on this LLM."""
        return standing("mplug_owl2", sizes, bases["llm"])

    def heeded(self, raw: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
        """The tower's own norms."""
        return sighted(raw, section(section(told, "visual_config"), "visual_model"))

    def said(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The LLM's own heads and norms."""
        return llama_said(told)

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps cut, joined and turned."""
        return to_ours(state), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The same back."""
        require_heads("mplug_owl2", config, HEADS)
        return to_theirs(plain("mplug_owl2", state, tables, config))
