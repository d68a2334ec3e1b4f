"""mPLUG-Owl's and mPLUG-Owl2's files, of the true keys -> a model folder -> the same files; true sizes on shapes alone.

What the folder computes is held against transformers' CLIP and Llama with the file's tensors, the abstractor against
its formula with three maps, mPLUG-Owl2's LLM against maps that are chosen by position.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM
from whole import (
    HEADS,
    Layer,
    Shapes,
    answer,
    attend,
    both,
    by_position,
    decode,
    layer_norm,
    linear,
    norm,
    rms,
    state_of,
    write_base,
)

from anyx import AnyX
from anyx.converters.keys import best
from anyx.converters.mplug_owl import MPLUGOwl, MPLUGOwl2
from anyx.converters.systems import check_sizes, convert, export
from anyx.latents import grid_waves, waves

TRUE = {
    "rows": 32_000,
    "width": 4096,
    "layers": 32,
    "inner": 11008,
    "half": 64,
    "queries": 64,
    "depth": 6,
    "feed": 2816,
}
TRUE |= {"tower": 1024, "blocks": 24, "deep": 4096, "places": 257}
SMALL = {"rows": 340, "width": 32, "layers": 2, "inner": 48, "half": 4, "queries": 3, "depth": 2, "feed": 40}
SMALL |= {"tower": 64, "blocks": 2, "deep": 40, "places": 5}
LLM_HEADS, EPS, EYE_EPS = 4, 1e-5, 1e-3
LLM: dict[str, Any] = {"vocab_size": 340, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
LLM |= {"num_attention_heads": LLM_HEADS}
VALUES = ["llm.dtype=float32"]
TOLD = {  # where each says what its config.json says
    "mplug_owl": {"vision_config": {"layer_norm_eps": EYE_EPS}, "text_config": {"rms_norm_eps": EPS}},
    "mplug_owl2": {"visual_config": {"visual_model": {"layer_norm_eps": EYE_EPS}}, "rms_norm_eps": EPS},
}
SEEN = {"mplug_owl": "vision_model.", "mplug_owl2": "model.vision_model."}
READ = {"mplug_owl": "abstractor.", "mplug_owl2": "model.visual_abstractor."}
QUERIES = {"mplug_owl": "query_tokens", "mplug_owl2": "model.visual_abstractor.query_embeds"}
TWICE = ("self_attn.k_proj", "self_attn.v_proj", "input_layernorm", "post_attention_layernorm")
SYSTEMS = {"mplug_owl": MPLUGOwl, "mplug_owl2": MPLUGOwl2}


def llama(sizes: dict[str, int], prefix: str, head: str, *, twice: bool, rates: bool) -> Shapes:
    width, inner = sizes["width"], sizes["inner"]
    shapes: Shapes = {f"{prefix}embed_tokens.weight": (sizes["rows"], width), f"{head}weight": (sizes["rows"], width)}
    shapes[f"{prefix}norm.weight"] = (width,)
    each: Shapes = {f"self_attn.{side}_proj": (width, width) for side in "qkvo"}
    each |= {"mlp.gate_proj": (inner, width), "mlp.up_proj": (inner, width), "mlp.down_proj": (width, inner)}
    each |= {"input_layernorm": (width,), "post_attention_layernorm": (width,)}
    for i in range(sizes["layers"]):
        for name, shape in each.items():
            ways = (".multiway.0", ".multiway.1") if twice and name in TWICE else ("",)
            shapes |= {f"{prefix}layers.{i}.{name}{way}.weight": shape for way in ways}
        shapes |= {f"{prefix}layers.{i}.self_attn.rotary_emb.inv_freq": (sizes["half"],)} if rates else {}
    return shapes


def owl(system: str, sizes: dict[str, int], *, rates: bool = False, positions: bool = False) -> Shapes:
    twice = system == "mplug_owl2"
    names = ("model.", "lm_head.") if twice else ("language_model.model.", "language_model.lm_head.")
    shapes = llama(sizes, *names, twice=twice, rates=rates)
    tower, deep, feed, seen, read = sizes["tower"], sizes["deep"], sizes["feed"], SEEN[system], READ[system]
    shapes |= {f"{seen}embeddings.cls_token": (1, 1, tower)} | norm(f"{seen}post_layernorm", tower)
    shapes |= {f"{seen}embeddings.patch_embed.weight": (tower, 3, 14, 14)}
    shapes |= {f"{seen}embeddings.position_embedding": (1, sizes["places"], tower)}
    shapes |= norm(f"{seen}embeddings.pre_layernorm", tower)
    for i in range(sizes["blocks"]):
        block = f"{seen}encoder.layers.{i}."
        shapes |= norm(f"{block}input_layernorm", tower) | norm(f"{block}post_attention_layernorm", tower)
        shapes |= both(f"{block}self_attn.query_key_value", 3 * tower, tower)
        shapes |= both(f"{block}self_attn.dense", tower, tower)
        shapes |= both(f"{block}mlp.fc1", deep, tower) | both(f"{block}mlp.fc2", tower, deep)
    shapes |= {QUERIES[system]: (1, sizes["queries"], tower), f"{read}vit_eos": (1, 1, sizes["width"])}
    shapes |= both(f"{read}visual_fc", sizes["width"], tower)
    for i in range(sizes["depth"]):
        cross = f"{read}encoder.layers.{i}.crossattention."
        for name in ("attention.query", "attention.key", "attention.value", "output.out_proj"):
            shapes |= both(f"{cross}{name}", tower, tower)
        for name in ("norm1", "normk", "output.norm2"):
            shapes |= norm(f"{cross}{name}", tower)
        shapes |= both(f"{cross}output.mlp.w1", feed, tower) | both(f"{cross}output.mlp.w3", feed, tower)
        shapes |= both(f"{cross}output.mlp.w2", tower, feed) | norm(f"{cross}output.mlp.ffn_ln", feed)
        if positions:
            shapes[f"{cross}attention.q_pos_embed"] = (sizes["queries"], tower)
            shapes[f"{cross}attention.k_pos_embed"] = (sizes["places"] - 1, tower)
    return shapes


def small(system: str, *, tables: bool = False, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(0)
    twice = system == "mplug_owl2"
    state = state_of(owl(system, SMALL, rates=tables, positions=tables and twice))
    made = {
        "inv_freq": 10000.0 ** (-torch.arange(4) / 4),
        "q_pos_embed": waves(torch.arange(SMALL["queries"]), SMALL["tower"]),
        "k_pos_embed": grid_waves(2, SMALL["tower"], torch.device("cpu")),
    }
    state |= {name: made[name.rpartition(".")[2]].clone() for name in state if name.rpartition(".")[2] in made}
    return {name: x.to(dtype) for name, x in state.items()}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its norms are not the checkpoint's."""
    return write_base(tmp_path_factory.mktemp("llm"), LlamaConfig(**LLM, rms_norm_eps=0.1))


def converted(system: str, state: dict[str, Tensor], folder: Path, base: str) -> Path:
    (folder / "in").mkdir()
    save_file(state, folder / "in" / "model.safetensors")
    (folder / "in" / "config.json").write_text(json.dumps(TOLD[system]))
    return convert(system, folder / "in", folder / "out", bases={"llm": base}, overrides=VALUES, any_size=True).path


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_true_files_are_known(system: str) -> None:
    twice, made = system == "mplug_owl2", SYSTEMS[system]()
    sizes = TRUE | ({"places": 1025} if twice else {})
    for rates in (False, True):
        for positions in (False, True) if twice else (False,):
            shapes = owl(system, sizes, rates=rates, positions=positions)
            layout, match = best(made.layouts, shapes, "x")
            assert ("rates" in layout, "positions" in layout) == (rates, positions)
            check_sizes("x", made, match.sizes)
            assert made.config(match.sizes, {"llm": "x"})["encoders"]["vision"]["size"] == (448 if twice else 224)
    assert len(owl(system, sizes, rates=True)) == (754 if not twice else 754 + 4 * 32)  # 754 in the published index too
    counts = {name: torch.Size(shape).numel() for name, shape in owl(system, sizes).items()}
    seen = {name for name in counts if name.startswith(SEEN[system])}
    read = {name for name in counts if name.startswith((READ[system], QUERIES[system]))}
    eye = 303_179_776 + (768 * 1024 if twice else 0)  # CLIP-L's, with more places
    block = 4 * (1024**2 + 1024) + 3 * 2 * 1024 + 3 * 1024 * 2816 + 4 * 2816 + 1024
    body = 6_738_415_616 + (32 * (2 * 4096**2 + 2 * 4096) if twice else 0)
    assert sum(counts[name] for name in seen) == eye
    assert sum(counts[name] for name in read) == 6 * block + 64 * 1024 + 4096 * 1025 + 4096
    assert sum(counts[name] for name in counts.keys() - seen - read) == body


def tower(system: str, state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """transformers' CLIP with the file's tensors, its last norm over all tokens."""
    sizes = {"hidden_size": 64, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": HEADS}
    clip = CLIPVisionModel(CLIPVisionConfig(**sizes, image_size=28, patch_size=14, layer_norm_eps=EYE_EPS)).eval()
    seen = {name.removeprefix(SEEN[system]): x for name, x in state.items() if name.startswith(SEEN[system])}
    given = {
        "embeddings.class_embedding": seen["embeddings.cls_token"].flatten(),
        "embeddings.patch_embedding.weight": seen["embeddings.patch_embed.weight"],
        "embeddings.position_embedding.weight": seen["embeddings.position_embedding"][0],
    }
    for leaf in ("weight", "bias"):
        given[f"pre_layrnorm.{leaf}"] = seen[f"embeddings.pre_layernorm.{leaf}"]
        given[f"post_layernorm.{leaf}"] = seen[f"post_layernorm.{leaf}"]
        for i in range(SMALL["blocks"]):
            block = f"encoder.layers.{i}."
            fused = seen[f"{block}self_attn.query_key_value.{leaf}"].unflatten(0, (HEADS, 3, 4))
            given |= {f"{block}self_attn.{s}_proj.{leaf}": fused[:, n].flatten(0, 1) for n, s in enumerate("qkv")}
            given[f"{block}self_attn.out_proj.{leaf}"] = seen[f"{block}self_attn.dense.{leaf}"]
            given[f"{block}layer_norm1.{leaf}"] = seen[f"{block}input_layernorm.{leaf}"]
            given[f"{block}layer_norm2.{leaf}"] = seen[f"{block}post_attention_layernorm.{leaf}"]
            given |= {f"{block}mlp.{fc}.{leaf}": seen[f"{block}mlp.{fc}.{leaf}"] for fc in ("fc1", "fc2")}
    clip.load_state_dict(given)
    return layer_norm(seen, "post_layernorm", EYE_EPS)(clip(pixels).last_hidden_state)


def abstracted(system: str, state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The abstractor by its formula; mPLUG-Owl2 adds places to what queries and keys are made of."""
    read = {name.removeprefix(READ[system]): y for name, y in state.items() if name.startswith(READ[system])}
    y = state[QUERIES[system]].expand(len(x), -1, -1)
    places = torch.zeros(()), torch.zeros(())
    if system == "mplug_owl2":
        queries = waves(torch.arange(SMALL["queries"]), SMALL["tower"])
        grid = F.pad(grid_waves(2, SMALL["tower"], torch.device("cpu")), (0, 0, 1, 0))
        places = queries, torch.cat([grid, queries])
    for i in range(SMALL["depth"]):
        cross = f"encoder.layers.{i}.crossattention."
        y = layer_norm(read, f"{cross}norm1", 1e-5)(y)
        both_read = torch.cat([layer_norm(read, f"{cross}normk", 1e-5)(x), y], 1)
        q, k, v = (
            linear(read, f"{cross}attention.{name}")(z)
            for name, z in (("query", y + places[0]), ("key", both_read + places[1]), ("value", both_read))
        )
        y = y + linear(read, f"{cross}output.out_proj")(attend(q, k, v, HEADS))
        mlp = f"{cross}output.mlp."
        z = layer_norm(read, f"{cross}output.norm2", 1e-5)(y)
        z = F.silu(linear(read, f"{mlp}w1")(z)) * linear(read, f"{mlp}w3")(z)
        y = y + linear(read, f"{mlp}w2")(layer_norm(read, f"{mlp}ffn_ln", 1e-6)(z))
    return torch.cat([linear(read, "visual_fc")(y), read["vit_eos"].expand(len(x), -1, -1)], 1)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_folder_sees_what_the_file_says(base: str, tmp_path: Path, system: str) -> None:
    state = small(system)
    model = AnyX.from_pretrained(converted(system, state, tmp_path, base))
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        seen = model.encoders["vision"]({"pixels": pixels})
        torch.testing.assert_close(seen.values, tower(system, state, pixels), atol=1e-4, rtol=1e-4)
        tokens = model.inputs["image"].projector(seen)
        torch.testing.assert_close(tokens.values, abstracted(system, state, seen.values), atol=1e-4, rtol=1e-4)


def test_mplug_owl_s_llm(base: str, tmp_path: Path) -> None:
    state = small("mplug_owl")
    model = AnyX.from_pretrained(converted("mplug_owl", state, tmp_path, base))
    theirs = LlamaForCausalLM(LlamaConfig(**LLM, rms_norm_eps=EPS)).eval()
    prefix = "language_model."
    theirs.load_state_dict({name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)})
    said = answer(model, 28)
    with torch.no_grad():
        wanted = theirs(inputs_embeds=said.embeddings).logits
    torch.testing.assert_close(said.logits, wanted, atol=1e-4, rtol=1e-4)


def test_mplug_owl2_s_llm(base: str, tmp_path: Path) -> None:
    state = small("mplug_owl2")
    said = answer(AnyX.from_pretrained(converted("mplug_owl2", state, tmp_path, base)), 28)
    x = said.embeddings
    seen = torch.zeros(x.shape[:2], dtype=torch.bool)
    seen[:, said.start : said.start + said.count] = True
    layers = []
    for i in range(SMALL["layers"]):
        layer = f"model.layers.{i}."
        norms = [
            by_position(seen, *(rms(state[f"{layer}{name}.multiway.{way}.weight"], EPS) for way in (1, 0)))
            for name in ("input_layernorm", "post_attention_layernorm")
        ]
        q = linear(state, f"{layer}self_attn.q_proj")
        k, v = (
            by_position(seen, *(linear(state, f"{layer}self_attn.{side}_proj.multiway.{way}") for way in (1, 0)))
            for side in "kv"
        )
        gate, up, down = (linear(state, f"{layer}mlp.{side}_proj") for side in ("gate", "up", "down"))
        layers.append(
            Layer(
                norms[0],
                lambda y, q=q, k=k, v=v: torch.cat([q(y), k(y), v(y)], -1),
                linear(state, f"{layer}self_attn.o_proj"),
                norms[1],
                lambda y, gate=gate, up=up, down=down: down(F.silu(gate(y)) * up(y)),
            )
        )
    places = torch.arange(x.shape[1]).expand(len(x), -1)
    with torch.no_grad():
        states = decode(x, places, layers, rms(state["model.norm.weight"], EPS), LLM_HEADS)
        torch.testing.assert_close(said.logits, linear(state, "lm_head")(states), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("system", SYSTEMS)
def test_there_and_back(base: str, tmp_path: Path, system: str, dtype: torch.dtype, tables: bool) -> None:
    state = small(system, tables=tables, dtype=dtype)
    export(system, converted(system, state, tmp_path, base), tmp_path / "back.safetensors")
    found = load_file(tmp_path / "back.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], x) for name, x in state.items())


@pytest.mark.parametrize("system", SYSTEMS)
def test_refusals(base: str, tmp_path: Path, system: str) -> None:
    state = small(system)
    end, fused = f"{READ[system]}vit_eos", f"{SEEN[system]}encoder.layers.1.self_attn.query_key_value.weight"
    cases = [
        ({name: x for name, x in state.items() if name != end}, rf"missing \(1\): {end}"),
        (state | {"strange": torch.zeros(1)}, r"unknown \(1\): strange"),
        (state | {fused: torch.zeros(64, 64)}, rf"misshaped \(1\): {fused} is 64 x 64 instead of 192 x 64"),
    ]
    if system == "mplug_owl2":
        where = "model.visual_abstractor.encoder.layers.1.crossattention.attention.k_pos_embed"
        cases.append((small(system, tables=True) | {where: torch.ones(4, 64)}, "k_pos_embed is not the table"))
    for i, (given, told) in enumerate(cases):
        (tmp_path / f"{i}").mkdir()
        with pytest.raises(ValueError, match=told):
            converted(system, given, tmp_path / f"{i}", base)
        assert not (tmp_path / f"{i}" / "out").exists()
