"""What LAVIS' files share (github.com/salesforce/LAVIS): tables of a Q-Former and EVA-CLIP-g; what is more than names.

A Q-Former's names below `Qformer` are ours (`anyx/qformer.py`). Three things of it may be there and are read by no part
here: BERT's `position_ids`, which count from 0; the head of words that the first stage writes with (`Qformer.cls`); and
where the queries read no words, what BERT has for them. They are kept for the way back. `ln_vision` becomes the norm of
the projector, with LAVIS' epsilon of 1e-5; a file without it stands on the tower's own. A tower that was trained too
(`visual_encoder`) has a bias of queries and values, none of keys; transformers' has one of all three, here with zeros.

The tower's names are told in github.com/salesforce/LAVIS/issues/128, but for those of a block's maps, which are as in
every ViT of that family (github.com/pengzhiliang/MAE-pytorch/issues/73).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from anyx.config import Config
from anyx.converters.folders import shipped
from anyx.converters.keys import Rule
from anyx.converters.pieces import UNREAD, plain
from anyx.converters.systems import Sizes, State

WORDS = {"leaf": ("weight", "bias"), "side": ("query", "key", "value"), "half": ("key", "value")}
READER = {"width": 768, "layer": 12, "hidden": 3072, "vocabulary": 30523, "positions": 512, "encoded": 1408, "ln": 1408}
EYE = {"block": 39, "deep": 6144, "patch": 14}
CLS = {  # BERT's head of words
    "bias": "vocabulary",
    "transform.dense.weight": "width width",
    "transform.dense.bias": "width",
    "transform.LayerNorm.{leaf}": "width",
    "decoder.weight": "vocabulary width",
    "decoder.bias": "vocabulary",
}
TOWER, NORM, T5 = "encoders.vision.tower.", "post_layernorm.", "flan_t5."
BIASES = (".q_bias", ".v_bias", ".qkv.bias")  # the parts, the whole


def qformer_rules(theirs: str, ours: str, *, reads: bool, group: str = "") -> list[Rule]:
    """A Q-Former that reads words or not, with cross-attention in layers 0, 2, ...; `group` as of `Rule`."""
    layer = "bert.encoder.layer.{layer}."
    shapes = {
        "bert.embeddings.LayerNorm.{leaf}": "width",
        f"{layer}attention.self.{{side}}.weight": "width width",
        f"{layer}attention.self.{{side}}.bias": "width",
        **_ending(f"{layer}attention.output", "width"),
        **_widening(f"{layer}intermediate_query"),
        **_ending(f"{layer}output_query", "hidden"),
    }
    crossing = {
        f"{layer}crossattention.self.query.weight": "width width",
        f"{layer}crossattention.self.query.bias": "width",
        f"{layer}crossattention.self.{{half}}.weight": "width encoded",
        f"{layer}crossattention.self.{{half}}.bias": "width",
        **_ending(f"{layer}crossattention.output", "width"),
    }
    words = {
        "bert.embeddings.word_embeddings.weight": "vocabulary width",
        "bert.embeddings.position_embeddings.weight": "positions width",
        **_widening(f"{layer}intermediate"),
        **_ending(f"{layer}output", "hidden"),
    }
    rules = [Rule(f"{theirs}{name}", f"{ours}{name}", shape, group) for name, shape in shapes.items()]
    rules += [Rule(f"{theirs}{name}", f"{ours}{name}", shape, group, every=2) for name, shape in crossing.items()]
    kept, some = (ours, group) if reads else (f"{UNREAD}{theirs}", f"{group} words")
    rules += [Rule(f"{theirs}{name}", f"{kept}{name}", shape, some) for name, shape in words.items()]
    places = f"{theirs}bert.embeddings.position_ids"
    rules.append(Rule(places, f"{UNREAD}{places}", "1 positions", f"{group} places"))
    head = f"{theirs}cls.predictions."
    return rules + [Rule(f"{head}{n}", f"{UNREAD}{head}{n}", shape, f"{group} head") for n, shape in CLS.items()]


def tower_rules() -> list[Rule]:
    """EVA-CLIP-g, in files of a training that moved it."""
    theirs, ours = "blocks.{block}.", "encoder.layers.{block}."
    shapes = {  # names there, names here, shape
        "cls_token": ("embeddings.class_embedding", "1 1 encoded"),
        "pos_embed": ("embeddings.position_embedding", "1 places encoded"),
        "patch_embed.proj.weight": ("embeddings.patch_embedding.weight", "encoded 3 patch patch"),
        "patch_embed.proj.bias": ("embeddings.patch_embedding.bias", "encoded"),
        f"{theirs}norm1.{{leaf}}": (f"{ours}layer_norm1.{{leaf}}", "encoded"),
        f"{theirs}norm2.{{leaf}}": (f"{ours}layer_norm2.{{leaf}}", "encoded"),
        f"{theirs}attn.q_bias": (f"{ours}self_attn.q_bias", "encoded"),
        f"{theirs}attn.v_bias": (f"{ours}self_attn.v_bias", "encoded"),
        f"{theirs}attn.qkv.weight": (f"{ours}self_attn.qkv.weight", "3*encoded encoded"),
        f"{theirs}attn.proj.weight": (f"{ours}self_attn.projection.weight", "encoded encoded"),
        f"{theirs}attn.proj.bias": (f"{ours}self_attn.projection.bias", "encoded"),
        f"{theirs}mlp.fc1.weight": (f"{ours}mlp.fc1.weight", "deep encoded"),
        f"{theirs}mlp.fc1.bias": (f"{ours}mlp.fc1.bias", "deep"),
        f"{theirs}mlp.fc2.weight": (f"{ours}mlp.fc2.weight", "encoded deep"),
        f"{theirs}mlp.fc2.bias": (f"{ours}mlp.fc2.bias", "encoded"),
    }
    return [
        Rule(f"visual_encoder.{there}", f"{TOWER}{here}", shape, "tower") for there, (here, shape) in shapes.items()
    ]


def port_rules(key: str, names: tuple[str, str, str, str], *, reads: bool, group: str = "") -> list[Rule]:
    """A port's projector by the names of its queries, norm, Q-Former and map; the queries are counted as `key`."""
    queries, norm, qformer, proj = names
    ours = f"inputs.{key}.projector."
    inner = f"{ours}{T5}" if proj == "t5_proj" else f"{ours}proj."  # so that it is told from the others
    return [
        Rule(queries, f"{ours}query_tokens", f"1 {key} width", group),
        Rule(f"{norm}.{{leaf}}", f"{ours}norm.{{leaf}}", "ln", group or "norm"),
        Rule(f"{proj}.weight", f"{inner}weight", "llm width", group),
        Rule(f"{proj}.bias", f"{inner}bias", "llm", group),
        *qformer_rules(f"{qformer}.", f"{ours}qformer.", reads=reads, group=group),
    ]


def standing(system: str, sizes: Sizes, bases: Mapping[str, str], *, reads: bool) -> dict[str, Any]:
    """A shipped YAML on these bases, with the ports whose queries the file has and its Q-Formers' sizes."""
    raw = shipped(system)
    normed = "ln" in sizes
    if normed and sizes["ln"] != sizes["encoded"]:
        raise ValueError(f"the norm is {sizes['ln']} wide, but cross-attention reads {sizes['encoded']}")
    known = ("width", "hidden", "vocabulary", "positions") if reads else ("width", "hidden")
    given: dict[str, Any] = {name: sizes[name] for name in known if sizes[name] != READER[name]}
    given |= {"layers": sizes["layer"]} if sizes["layer"] != READER["layer"] else {}
    given |= {"tokenizer": bases["bert"]} if reads else {}
    ports = {
        key: {**port, "projector": {**port["projector"], "queries": sizes[key], "norm": normed, **given}}
        for key, port in raw["inputs"].items()
        if key in sizes
    }
    vision = {**raw["encoders"]["vision"], "path": bases["eva"], "post_ln": "none" if normed else "loaded"}
    vision |= {} if normed else {"eps": 1e-5}
    llm = {**raw["llm"], "path": bases["llm"]}
    return {**raw, "llm": llm, "encoders": {"vision": vision}, "inputs": ports}


def inward(system: str, state: State) -> dict[str, Tensor]:
    """Tensors by the layout's names -> what a folder holds: one bias of a tower's attention, its norm beside it."""
    if any(f".{T5}" in name for name in state):
        told = (
            "anyx reads decoders alone; MiniGPT-4 stands on such a file's eye and Q-Former as transformers saves them"
        )
        raise ValueError(f"t5_proj: this {system} speaks through Flan-T5, an encoder with a decoder; {told}")
    made = dict(state)
    for name in [name for name in made if name.endswith("position_ids")]:
        if not torch.equal(made[name], torch.arange(made[name].numel(), dtype=made[name].dtype)[None]):
            raise ValueError(f"{name.removeprefix(UNREAD)} does not count from 0, which is how places are read here")
    first, last, whole = BIASES
    for name in [name for name in made if name.startswith(TOWER) and name.endswith(first)]:
        stem = name.removesuffix(first)
        q, v = made.pop(name), made.pop(f"{stem}{last}")
        made[f"{stem}{whole}"] = torch.cat([q, torch.zeros_like(q), v])
    if any(name.startswith(TOWER) for name in made):
        ours = "inputs.image.projector.norm."
        if f"{ours}weight" not in made:
            raise ValueError("visual_encoder.* is there, but no ln_vision.*: a tower that was trained has its own norm")
        made |= {f"{TOWER}{NORM}{leaf}": made[f"{ours}{leaf}"] for leaf in WORDS["leaf"]}
    return made


def outward(system: str, state: State, tables: State, config: Config) -> dict[str, Tensor]:
    """The way back of `inward`."""
    kept = plain(system, state, tables, config)
    made = {name: tensor for name, tensor in kept.items() if not name.startswith(f"{TOWER}{NORM}")}
    first, last, whole = BIASES
    for name in [name for name in made if name.startswith(TOWER) and name.endswith(whole)]:
        stem = name.removesuffix(whole)
        q, _, v = made.pop(name).chunk(3)  # a bias of keys adds as much to all scores of a query: softmax loses it
        made |= {f"{stem}{first}": q, f"{stem}{last}": v}
    return made


def _widening(name: str) -> dict[str, str]:
    return {f"{name}.dense.weight": "hidden width", f"{name}.dense.bias": "hidden"}


def _ending(name: str, into: str) -> dict[str, str]:
    """How every part of a BERT layer ends."""
    return {
        f"{name}.dense.weight": f"width {into}",
        f"{name}.dense.bias": "width",
        f"{name}.LayerNorm.{{leaf}}": "width",
    }
