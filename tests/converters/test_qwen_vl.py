"""Qwen-VL's file, of the true keys -> a model folder -> the same file; true sizes on shapes alone.

What the folder computes is held against the file's own tensors: the fused `c_attn` in one product, the tower's rows of
one head after another, PyTorch's own attention for the queries, `proj` on the right.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from transformers import Qwen2Config
from whole import HEADS, Layer, Shapes, attend, both, decode, layer_norm, linear, norm, rms, state_of, write_base

from anyx import AnyX
from anyx.converters.keys import best
from anyx.converters.qwen_vl import QwenVL
from anyx.converters.systems import check_sizes, convert, export
from anyx.latents import grid_waves

TRUE = {"rows": 151_936, "width": 4096, "layers": 32, "inner": 11008, "queries": 256}
TRUE |= {"tower": 1664, "blocks": 48, "deep": 8192, "places": 256}
SMALL = {"rows": 340, "width": 32, "layers": 2, "inner": 48, "queries": 4}
SMALL |= {"tower": 48, "blocks": 2, "deep": 40, "places": 4}
LLM_HEADS = 4
VALUES = ["llm.dtype=float32", "encoders.vision.size=28", f"inputs.image.projector.heads={LLM_HEADS}"]
SEEN = "transformer.visual."
TOLD = {"model_type": "qwen", "num_attention_heads": LLM_HEADS, "rotary_emb_base": 10000, "layer_norm_epsilon": 1e-6}


def qwen_vl(sizes: dict[str, int]) -> Shapes:
    width, inner, tower, deep = (sizes[name] for name in ("width", "inner", "tower", "deep"))
    shapes: Shapes = {"transformer.wte.weight": (sizes["rows"], width), "lm_head.weight": (sizes["rows"], width)}
    for i in range(sizes["layers"]):
        h = f"transformer.h.{i}."
        shapes |= both(f"{h}attn.c_attn", 3 * width, width) | {f"{h}attn.c_proj.weight": (width, width)}
        shapes |= {f"{h}mlp.w1.weight": (inner, width), f"{h}mlp.w2.weight": (inner, width)}
        shapes |= {f"{h}mlp.c_proj.weight": (width, inner), f"{h}ln_1.weight": (width,), f"{h}ln_2.weight": (width,)}
    shapes |= {"transformer.ln_f.weight": (width,), f"{SEEN}conv1.weight": (tower, 3, 14, 14)}
    shapes |= {f"{SEEN}positional_embedding": (sizes["places"], tower)} | norm(f"{SEEN}ln_pre", tower)
    for i in range(sizes["blocks"]):
        block = f"{SEEN}transformer.resblocks.{i}."
        shapes |= norm(f"{block}ln_1", tower) | norm(f"{block}ln_2", tower)
        shapes |= both(f"{block}attn.in_proj", 3 * tower, tower) | both(f"{block}attn.out_proj", tower, tower)
        shapes |= both(f"{block}mlp.c_fc", deep, tower) | both(f"{block}mlp.c_proj", tower, deep)
    pool = f"{SEEN}attn_pool."
    shapes |= {f"{pool}pos_embed": (sizes["queries"], width), f"{pool}query": (sizes["queries"], width)}
    shapes |= {f"{pool}kv_proj.weight": (width, tower), f"{pool}attn.in_proj_weight": (3 * width, width)}
    shapes |= {f"{pool}attn.in_proj_bias": (3 * width,)} | both(f"{pool}attn.out_proj", width, width)
    shapes |= norm(f"{pool}ln_q", width) | norm(f"{pool}ln_kv", width)
    return shapes | norm(f"{SEEN}ln_post", width) | {f"{SEEN}proj": (width, width)}


def small(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    torch.manual_seed(0)
    state = state_of(qwen_vl(SMALL))
    side = round(SMALL["queries"] ** 0.5)
    state[f"{SEEN}attn_pool.pos_embed"] = grid_waves(side, SMALL["width"], torch.device("cpu"))
    return {name: x.to(dtype) for name, x in state.items()}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Qwen2 whose rotations and norms are others than Qwen-7B's."""
    sizes = {"vocab_size": SMALL["rows"], "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
    config = Qwen2Config(**sizes, num_attention_heads=2, num_key_value_heads=2, rms_norm_eps=0.1, **rope)
    return write_base(tmp_path_factory.mktemp("llm"), config)


def written(folder: Path, state: dict[str, Tensor]) -> Path:
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(TOLD))
    return folder


def test_the_true_file_is_known() -> None:
    shapes = qwen_vl(TRUE)
    counts = {name: torch.Size(shape).numel() for name, shape in shapes.items()}
    assert len(shapes) == 32 * 8 + 3 + 48 * 12 + 4 + 11 + 3
    assert sum(counts.values()) == 7_721_324_544 + 1_842_770_688 + 91_791_360 + 256 * 4096  # the last is no parameter
    made = QwenVL()
    _, match = best(made.layouts, shapes, "x")
    check_sizes("x", made, match.sizes)
    assert made.config(match.sizes, {"llm": "x"})["encoders"]["vision"]["table"] == 16


def words(state: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Qwen-7B over ids."""
    layers = []
    for i in range(SMALL["layers"]):
        h = f"transformer.h.{i}."
        up, gate, down = (linear(state, f"{h}mlp.{name}") for name in ("w1", "w2", "c_proj"))
        layers.append(
            Layer(
                rms(state[f"{h}ln_1.weight"], 1e-6),
                linear(state, f"{h}attn.c_attn"),
                linear(state, f"{h}attn.c_proj"),
                rms(state[f"{h}ln_2.weight"], 1e-6),
                lambda x, up=up, gate=gate, down=down: down(up(x) * F.silu(gate(x))),
            )
        )
    last = rms(state["transformer.ln_f.weight"], 1e-6)
    places = torch.arange(ids.shape[1]).expand(len(ids), -1)
    x = decode(F.embedding(ids, state["transformer.wte.weight"]), places, layers, last, LLM_HEADS)
    return linear(state, "lm_head")(x)


def pictures(state: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The tower, the queries and what follows, as published."""
    seen = {name.removeprefix(SEEN): x for name, x in state.items() if name.startswith(SEEN)}
    x = F.conv2d(pixels, seen["conv1.weight"], stride=14).flatten(2).transpose(1, 2) + seen["positional_embedding"]
    x = layer_norm(seen, "ln_pre", 1e-6)(x)
    for i in range(SMALL["blocks"]):
        block = f"transformer.resblocks.{i}."
        fused = linear(seen, f"{block}attn.in_proj")(layer_norm(seen, f"{block}ln_1", 1e-6)(x))
        q, k, v = (y.flatten(2) for y in fused.unflatten(-1, (HEADS, -1)).chunk(3, -1))
        x = x + linear(seen, f"{block}attn.out_proj")(attend(q, k, v, HEADS))
        inner = F.gelu(linear(seen, f"{block}mlp.c_fc")(layer_norm(seen, f"{block}ln_2", 1e-6)(x)))
        x = x + linear(seen, f"{block}mlp.c_proj")(inner)
    pool = torch.nn.MultiheadAttention(SMALL["width"], LLM_HEADS, batch_first=True)
    inside = "attn_pool.attn."
    pool.load_state_dict({n.removeprefix(inside): y for n, y in seen.items() if n.startswith(inside)})
    read = layer_norm(seen, "attn_pool.ln_kv", 1e-6)(linear(seen, "attn_pool.kv_proj")(x))
    queries = layer_norm(seen, "attn_pool.ln_q", 1e-6)(seen["attn_pool.query"])
    table = seen["attn_pool.pos_embed"]
    y, _ = pool((queries + table).expand(len(x), -1, -1), read + table, read)
    return layer_norm(seen, "ln_post", 1e-6)(y) @ seen["proj"]


def test_the_folder_computes_what_the_file_says(base: str, tmp_path: Path) -> None:
    state = small()
    out = convert(
        "qwen_vl",
        written(tmp_path / "in", state),
        tmp_path / "out",
        bases={"llm": base},
        overrides=VALUES,
        any_size=True,
    )
    model = AnyX.from_pretrained(out.path)
    ids = torch.randint(0, SMALL["rows"], (2, 9))
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        states = model.llm.states(model.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        torch.testing.assert_close(model.llm.logits(states), words(state, ids), atol=1e-4, rtol=1e-4)
        tokens = model.inputs["image"].projector(model.encoders["vision"]({"pixels": pixels}))
        torch.testing.assert_close(tokens.values, pictures(state, pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_there_and_back(base: str, tmp_path: Path, dtype: torch.dtype) -> None:
    state = small(dtype)
    convert(
        "qwen_vl",
        written(tmp_path / "in", state),
        tmp_path / "out",
        bases={"llm": base},
        overrides=VALUES,
        any_size=True,
    )
    for kept in (True, False):  # the file's own table, and the one that is computed
        export("qwen_vl", tmp_path / "out", tmp_path / f"{kept}.safetensors")
        found = load_file(tmp_path / f"{kept}.safetensors")
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], x) for name, x in state.items())
        (tmp_path / "out" / "unread.safetensors").unlink(missing_ok=True)


def test_a_model_that_was_trained_further(base: str, tmp_path: Path) -> None:
    state = small()
    file = written(tmp_path / "in", state)
    convert("qwen_vl", file, tmp_path / "out", bases={"llm": base}, overrides=VALUES, any_size=True)
    model = AnyX.from_pretrained(tmp_path / "out")
    model.learnt = ("encoders.vision", "llm.body")
    with torch.no_grad():
        model.llm.model.get_submodule("model.layers.1.self_attn.k_proj").bias += 1
    export("qwen_vl", model.save_pretrained(tmp_path / "again"), tmp_path / "back.safetensors")
    found = load_file(tmp_path / "back.safetensors")
    state["transformer.h.1.attn.c_attn.bias"][32:64] += 1
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], x) for name, x in state.items())


def test_refusals(base: str, tmp_path: Path) -> None:
    state = small()
    wrong = state | {f"{SEEN}attn_pool.pos_embed": torch.zeros(SMALL["queries"], SMALL["width"])}
    less = {name: x for name, x in state.items() if name != "transformer.h.1.attn.c_attn.bias"}
    cases = [
        (wrong, "attn_pool.pos_embed is not the table"),
        (less, r"missing \(1\): transformer.h.1.attn.c_attn.bias"),
        (state | {"transformer.h.0.attn.c_proj.bias": torch.zeros(32)}, r"unknown \(1\): transformer.h.0.attn.c_proj"),
        (state | {f"{SEEN}proj": torch.zeros(32, 31)}, r"misshaped \(1\): transformer.visual.proj is 32 x 31"),
    ]
    for i, (given, told) in enumerate(cases):
        with pytest.raises(ValueError, match=told):
            convert("qwen_vl", written(tmp_path / f"{i}", given), tmp_path / "o", bases={"llm": base}, any_size=True)
    file = written(tmp_path / "in", state)
    with pytest.raises(ValueError, match="not of the published sizes"):
        convert("qwen_vl", file, tmp_path / "o", bases={"llm": base})
    with pytest.raises(ValueError, match="must be a folder with its"):
        convert("qwen_vl", file, tmp_path / "o", bases={"llm": "Qwen/Qwen-7B"}, overrides=VALUES, any_size=True)
    values = [*VALUES, "encoders.vision.hidden=41"]
    with pytest.raises(ValueError, match="keywords make another vit than the checkpoint's"):
        convert("qwen_vl", file, tmp_path / "o", bases={"llm": base}, overrides=values, any_size=True)
    assert not (tmp_path / "o").exists()
