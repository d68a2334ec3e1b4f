"""CogVLM's files, of the true keys -> a model folder -> the same files; true sizes on shapes alone.

What the folder computes is held against the file's own tensors: one product for queries, keys and values, another one
where a picture stands, all its patches at one position.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import LlamaConfig
from whole import (
    HEADS,
    Layer,
    Map,
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
from anyx.converters.cogvlm import CogVLM
from anyx.converters.keys import best
from anyx.converters.systems import check_sizes, convert, export

TRUE = {"rows": 32_000, "width": 4096, "layers": 32, "inner": 11008}
TRUE |= {"tower": 1792, "blocks": 63, "deep": 15360, "places": 1226}
SMALL = {"rows": 340, "width": 32, "layers": 2, "inner": 48, "tower": 48, "blocks": 2, "deep": 40, "places": 5}
LLM_HEADS, EPS = 4, 1e-5
VALUES = ["llm.dtype=float32"]
SEEN = "model.vision."


def cogvlm(sizes: dict[str, int], *, rates: bool = False) -> Shapes:
    width, inner, tower, deep = (sizes[name] for name in ("width", "inner", "tower", "deep"))
    shapes: Shapes = {"model.embed_tokens.weight": (sizes["rows"], width), "lm_head.weight": (sizes["rows"], width)}
    shapes["model.norm.weight"] = (width,)
    for i in range(sizes["layers"]):
        layer = f"model.layers.{i}."
        shapes |= {f"{layer}{name}.weight": (width,) for name in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{layer}self_attn.rotary_emb.inv_freq": (width // LLM_HEADS // 2,)} if rates else {}
        for kind in ("vision", "language"):
            shapes[f"{layer}self_attn.{kind}_expert_query_key_value.weight"] = (3 * width, width)
            shapes[f"{layer}self_attn.{kind}_expert_dense.weight"] = (width, width)
            shapes |= {f"{layer}mlp.{kind}_mlp.{side}_proj.weight": (inner, width) for side in ("gate", "up")}
            shapes[f"{layer}mlp.{kind}_mlp.down_proj.weight"] = (width, inner)
    patch = f"{SEEN}patch_embedding."
    shapes |= {f"{patch}proj.weight": (tower, 3, 14, 14), f"{patch}proj.bias": (tower,)}
    shapes |= {f"{patch}cls_embedding": (1, tower), f"{patch}position_embedding.weight": (sizes["places"], tower)}
    for i in range(sizes["blocks"]):
        block = f"{SEEN}transformer.layers.{i}."
        shapes |= norm(f"{block}input_layernorm", tower) | norm(f"{block}post_attention_layernorm", tower)
        shapes |= both(f"{block}attention.query_key_value", 3 * tower, tower)
        shapes |= both(f"{block}attention.dense", tower, tower)
        shapes |= both(f"{block}mlp.fc1", deep, tower) | both(f"{block}mlp.fc2", tower, deep)
    glu = f"{SEEN}linear_proj."
    shapes |= {f"{glu}linear_proj.weight": (width, tower)} | norm(f"{glu}norm1", width)
    shapes |= {f"{glu}{name}.weight": (inner, width) for name in ("gate_proj", "dense_h_to_4h")}
    shapes |= {f"{glu}dense_4h_to_h.weight": (width, inner)}
    return shapes | {f"{SEEN}boi": (1, 1, width), f"{SEEN}eoi": (1, 1, width)}


def small(*, rates: bool = False, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = state_of(cogvlm(SMALL, rates=rates))
    half = SMALL["width"] // LLM_HEADS // 2
    state |= {name: 10000.0 ** (-torch.arange(half) / half) for name in state if name.endswith("inv_freq")}
    return {name: x.to(dtype) for name, x in state.items()}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    sizes = {"vocab_size": SMALL["rows"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = LlamaConfig(**sizes, num_attention_heads=LLM_HEADS, rms_norm_eps=EPS)
    return write_base(tmp_path_factory.mktemp("llm"), config)


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize(("pixels", "places"), [(490, 1226), (224, 257)])
def test_the_true_files_are_known(pixels: int, places: int, rates: bool) -> None:
    shapes = cogvlm({**TRUE, "places": places}, rates=False)
    assert len(shapes) == 3 + 32 * 12 + 4 + 63 * 12 + 6 + 2
    made = CogVLM()
    known = shapes | ({f"model.layers.{i}.self_attn.rotary_emb.inv_freq": (64,) for i in range(32)} if rates else {})
    layout, match = best(made.layouts, known, "x")
    assert layout == ("rates" if rates else "plain")
    check_sizes("x", made, match.sizes)
    assert made.config(match.sizes, {"llm": "x"})["encoders"]["vision"]["size"] == pixels
    if pixels == 490:  # 17 B, 6.5 B of them the experts'
        counts = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
        assert round(sum(x for name, x in counts.items() if "layers" in name and "vision_" in name) / 1e8) == 65
        assert 17e9 < sum(counts.values()) < 18.5e9


def swiglu(state: dict[str, Tensor], *names: str) -> Map:
    gate, up, down = (linear(state, name) for name in names)
    return lambda x: down(F.silu(gate(x)) * up(x))


def logits(state: dict[str, Tensor], x: Tensor, start: int, count: int) -> Tensor:
    """The LLM over embeddings, `count` of which from `start` on are boi, patches and eoi."""
    seen = torch.zeros(x.shape[:2], dtype=torch.bool)
    seen[:, start : start + count - 1] = True  # eoi is read as text
    places = torch.arange(x.shape[1])
    places[start + 1 : start + count - 1] = start + 1
    places[start + count - 1 :] = start + 2 + torch.arange(x.shape[1] - start - count + 1)
    layers = []
    for i in range(SMALL["layers"]):
        attn, mlp = f"model.layers.{i}.self_attn.", f"model.layers.{i}.mlp."
        fused, dense, gated = (
            by_position(seen, *maps)
            for maps in (
                [linear(state, f"{attn}{kind}_expert_query_key_value") for kind in ("vision", "language")],
                [linear(state, f"{attn}{kind}_expert_dense") for kind in ("vision", "language")],
                [
                    swiglu(state, *(f"{mlp}{kind}_mlp.{side}_proj" for side in ("gate", "up", "down")))
                    for kind in ("vision", "language")
                ],
            )
        )
        norms = [rms(state[f"model.layers.{i}.{n}_layernorm.weight"], EPS) for n in ("input", "post_attention")]
        layers.append(Layer(norms[0], fused, dense, norms[1], gated))
    last = rms(state["model.norm.weight"], EPS)
    return linear(state, "lm_head")(decode(x, places.expand(len(x), -1), layers, last, LLM_HEADS))


def pictures(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The tower without its class token, the gated map, the two ends."""
    seen = {name.removeprefix(SEEN): x for name, x in state.items() if name.startswith(SEEN)}
    x = F.conv2d(pixels, seen["patch_embedding.proj.weight"], seen["patch_embedding.proj.bias"], stride=14)
    x = torch.cat([seen["patch_embedding.cls_embedding"].expand(len(x), 1, -1), x.flatten(2).transpose(1, 2)], 1)
    x = x + seen["patch_embedding.position_embedding.weight"]
    for i in range(SMALL["blocks"]):
        block = f"transformer.layers.{i}."
        q, k, v = linear(seen, f"{block}attention.query_key_value")(x).chunk(3, -1)
        y = linear(seen, f"{block}attention.dense")(attend(q, k, v, HEADS))
        x = x + layer_norm(seen, f"{block}input_layernorm", 1e-6)(y)
        y = linear(seen, f"{block}mlp.fc2")(F.gelu(linear(seen, f"{block}mlp.fc1")(x)))
        x = x + layer_norm(seen, f"{block}post_attention_layernorm", 1e-6)(y)
    x = F.gelu(layer_norm(seen, "linear_proj.norm1", 1e-5)(linear(seen, "linear_proj.linear_proj")(x[:, 1:])))
    x = swiglu(seen, *(f"linear_proj.{name}" for name in ("gate_proj", "dense_h_to_4h", "dense_4h_to_h")))(x)
    return torch.cat([seen["boi"].expand(len(x), -1, -1), x, seen["eoi"].expand(len(x), -1, -1)], 1)


def test_the_folder_computes_what_the_file_says(base: str, tmp_path: Path) -> None:
    state = small()
    save_file(state, tmp_path / "model.safetensors")
    given = {"bases": {"llm": base}, "overrides": VALUES, "any_size": True}
    model = AnyX.from_pretrained(convert("cogvlm", tmp_path / "model.safetensors", tmp_path / "out", **given).path)
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        tokens = model.inputs["image"].projector(model.encoders["vision"]({"pixels": pixels}))
        torch.testing.assert_close(tokens.values, pictures(state, pixels), atol=1e-4, rtol=1e-4)
        said = answer(model, 28)
        assert said.count == 6
        wanted = logits(state, said.embeddings, said.start, said.count)
        torch.testing.assert_close(said.logits, wanted, atol=1e-4, rtol=1e-4)
        blind = logits(state, said.embeddings, said.start, 1)
        assert not torch.allclose(said.logits, blind, atol=1e-2)


@pytest.mark.parametrize("rates", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back(base: str, tmp_path: Path, dtype: torch.dtype, rates: bool) -> None:
    state = small(rates=rates, dtype=dtype)
    save_file(state, tmp_path / "model.safetensors")
    given = {"bases": {"llm": base}, "overrides": VALUES, "any_size": True}
    convert("cogvlm", tmp_path / "model.safetensors", tmp_path / "out", **given)
    export("cogvlm", tmp_path / "out", tmp_path / "back.safetensors")
    found = load_file(tmp_path / "back.safetensors")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], x) for name, x in state.items())


def test_refusals(base: str, tmp_path: Path) -> None:
    state, rate = small(rates=True), "model.layers.1.self_attn.rotary_emb.inv_freq"
    one = "model.layers.0.self_attn.vision_expert_query_key_value"
    cases = [
        (state | {rate: torch.ones(4)}, "inv_freq is not the table"),
        ({name: x for name, x in state.items() if name != f"{SEEN}boi"}, rf"missing \(1\): {SEEN}boi"),
        (state | {f"{one}.bias": torch.zeros(96)}, rf"unknown \(1\): {one}.bias"),  # CogVLM2 has it
        (state | {f"{one}.weight": torch.zeros(64, 32)}, rf"misshaped \(1\): {one}.weight is 64 x 32 instead of 96"),
    ]
    for i, (given, told) in enumerate(cases):
        save_file(given, tmp_path / f"{i}.safetensors")
        with pytest.raises(ValueError, match=told):
            convert("cogvlm", tmp_path / f"{i}.safetensors", tmp_path / "o", bases={"llm": base}, any_size=True)
    assert not (tmp_path / "o").exists()
