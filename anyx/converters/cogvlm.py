"""CogVLM (arXiv 2311.03079; github.com/zai-org/CogVLM): the files for transformers (`*-hf`), tower and LLM with them.

Every layer of the LLM has its maps twice, for words and for pictures: the former become a Llama's, the latter those of
the adapter `expert`. Queries, keys and values are in one matrix, q above k above v, in the LLM as in the tower.
The boi and eoi vectors are the two ends of the projector. Some files hold the rotations' rates too, which are fixed.
CogVLM2's have biases on the experts' maps and a convolution after the tower; they are refused by these names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any, ClassVar

from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Layout, Rule
from anyx.converters.llama import hold_rates, llama_said, rate_rule
from anyx.converters.pieces import QKV, cut, joined, plain
from anyx.converters.systems import Converter, Sizes, State

WORDS = {"leaf": ("weight", "bias"), "norm": ("input_layernorm", "post_attention_layernorm")}
WORDS |= {"side": ("gate_proj", "up_proj")}
TOWER, OURS = "encoders.vision.", "inputs.image.projector."
HEADS = 16  # of the tower; a file does not say it
CLASS, ENDS = f"{TOWER}class_embedding", (f"{OURS}ends", (f"{OURS}boi", f"{OURS}eoi"))


def language_rules() -> list[Rule]:
    """The LLM, and its experts for pictures."""
    layer = "layers.{layer}."
    rules = [
        Rule("model.embed_tokens.weight", "llm.body.model.embed_tokens.weight", "rows width"),
        Rule(f"model.{layer}{{norm}}.weight", f"llm.body.model.{layer}{{norm}}.weight", "width"),
        Rule("model.norm.weight", "llm.body.model.norm.weight", "width"),
        Rule("lm_head.weight", "llm.body.lm_head.weight", "rows width"),
    ]
    for kind, ours in (("language", f"llm.body.model.{layer}"), ("vision", f"llm.adapters.expert.{layer}")):
        attn, mlp = f"model.{layer}self_attn.{kind}_expert_", f"model.{layer}mlp.{kind}_mlp."
        rules += [
            Rule(f"{attn}query_key_value.weight", f"{ours}self_attn.qkv_proj.weight", "3*width width"),
            Rule(f"{attn}dense.weight", f"{ours}self_attn.o_proj.weight", "width width"),
            Rule(f"{mlp}{{side}}.weight", f"{ours}mlp.{{side}}.weight", "inner width"),
            Rule(f"{mlp}down_proj.weight", f"{ours}mlp.down_proj.weight", "width inner"),
        ]
    return rules


def visual_rules() -> list[Rule]:
    """EVA-02-CLIP-E without its last layer, and the projector."""
    block = "transformer.layers.{block}."
    tower = {
        "patch_embedding.proj.weight": ("stem.weight", "tower 3 patch patch"),
        "patch_embedding.proj.bias": ("stem.bias", "tower"),
        "patch_embedding.cls_embedding": ("class_embedding", "1 tower"),
        "patch_embedding.position_embedding.weight": ("positions", "places tower"),
        f"{block}input_layernorm.{{leaf}}": ("blocks.{block}.norm_1.{leaf}", "tower"),
        f"{block}post_attention_layernorm.{{leaf}}": ("blocks.{block}.norm_2.{leaf}", "tower"),
        f"{block}attention.query_key_value.weight": ("blocks.{block}.attn.in_proj_weight", "3*tower tower"),
        f"{block}attention.query_key_value.bias": ("blocks.{block}.attn.in_proj_bias", "3*tower"),
        f"{block}attention.dense.weight": ("blocks.{block}.attn.out_proj.weight", "tower tower"),
        f"{block}attention.dense.bias": ("blocks.{block}.attn.out_proj.bias", "tower"),
        f"{block}mlp.fc1.weight": ("blocks.{block}.mlp.fc1.weight", "deep tower"),
        f"{block}mlp.fc1.bias": ("blocks.{block}.mlp.fc1.bias", "deep"),
        f"{block}mlp.fc2.weight": ("blocks.{block}.mlp.fc2.weight", "tower deep"),
        f"{block}mlp.fc2.bias": ("blocks.{block}.mlp.fc2.bias", "tower"),
    }
    projector = {
        "linear_proj.linear_proj.weight": ("proj.weight", "width tower"),
        "linear_proj.norm1.{leaf}": ("norm.{leaf}", "width"),
        "linear_proj.gate_proj.weight": ("gate.weight", "inner width"),
        "linear_proj.dense_h_to_4h.weight": ("up.weight", "inner width"),
        "linear_proj.dense_4h_to_h.weight": ("down.weight", "width inner"),
        "boi": ("boi", "1 1 width"),
        "eoi": ("eoi", "1 1 width"),
    }
    return [
        Rule(f"model.vision.{name}", f"{where}{ours}", shape)
        for where, names in ((TOWER, tower), (OURS, projector))
        for name, (ours, shape) in names.items()
    ]


class CogVLM(Converter):
    """It has no options; files of 224 and of 490 pixels differ in their table of positions."""

    bases: ClassVar[Mapping[str, str]] = {
        "llm": "Vicuna v1.5 7B, whose configuration and tokenizer the checkpoint shares"
    }
    notes: ClassVar[Sequence[str]] = (
        "Converted from CogVLM. Its weights are under CogVLM's model licence and Llama 2's terms.",
    )

    def __init__(self) -> None:
        llm = {"rows": 32_000, "width": 4096, "layer": 32, "inner": 11008, "half": 64}
        eye = {"tower": 1792, "patch": 14, "block": 63, "deep": 15360}
        self.published = {f"{side * 14} pixels": {**llm, **eye, "places": side**2 + 1} for side in (35, 16)}
        rules = [*language_rules(), *visual_rules()]
        self.layouts = {"plain": Layout(rules, WORDS), "rates": Layout([*rules, rate_rule("model.")], WORDS)}

    def config(self, sizes: Sizes, bases: Mapping[str, str]) -> dict[str, Any]:
        """`configs/models/cogvlm.yaml` on this LLM, with a tower of the file's sizes."""
        raw = shipped("cogvlm")
        vision = {name: value for name, value in raw["encoders"]["vision"].items() if name != "path"}
        vision |= {"width": sizes["tower"], "layers": sizes["block"], "hidden": sizes["deep"], "patch": sizes["patch"]}
        vision |= {"size": sizes["patch"] * isqrt(sizes["places"] - 1), "heads": HEADS}
        raw["llm"]["path"], raw["encoders"]["vision"] = bases["llm"], vision
        raw["inputs"]["image"]["projector"]["hidden"] = sizes["inner"]
        return raw

    def said(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The checkpoint's own heads and norms."""
        return llama_said(told)

    def ours(self, state: State) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Maps cut, the two ends in one tensor."""
        hold_rates(state)
        found = {name: x.flatten(0, 1) if name in ENDS[1] else x for name, x in state.items()}
        return cut(joined(found, *ENDS) | {CLASS: found[CLASS][0]}, *QKV), {}

    def theirs(self, state: State, tables: State, config: Config) -> dict[str, Tensor]:
        """The same back."""
        found = cut(joined(plain("cogvlm", state, tables, config), *QKV), *ENDS)
        found |= {name: found[name][None] for name in (*ENDS[1], CLASS) if name in found}
        return found
