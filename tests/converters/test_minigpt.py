"""MiniGPT-v2's and MiniGPT-4's files, of the true keys -> a model folder -> the same file; true sizes on `meta`.

Facts: reference sheet 1.4 and 1.5. A file holds `{"model": {...}, ...}`, as a training saves it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import checkpoints
import pytest
import tiny
import torch
from small import llama, merged
from torch import Tensor
from torch.nn import functional as F
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2VisionConfig, Blip2VisionModel

from anyx import AnyX, Image
from anyx.converters.keys import KeysError, best
from anyx.converters.minigpt import MiniGPT4, MiniGPT4Llama2, MiniGPTv2
from anyx.converters.systems import check_sizes, convert, export

Shapes = dict[str, tuple[int, ...]]
TRUE = {"width": 4096, "layers": 32, "rank": 64, "encoded": 1408}
SMALL = {"width": 32, "layers": 2, "rank": 4, "encoded": 8}
EYE: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def minigpt_v2(sizes: dict[str, int], adapter: str = "") -> Shapes:
    prefix = "llama_model.base_model.model."
    lora = checkpoints.lora(sizes, prefix, adapter)
    shapes = {name: shape for name, shape in lora.items() if ".q_proj." in name or ".v_proj." in name}
    return shapes | {
        "llama_proj.weight": (sizes["width"], 4 * sizes["encoded"]),
        "llama_proj.bias": (sizes["width"],),
    }


def saved(shapes: Shapes, file: Path) -> dict[str, Tensor]:
    """A training's own file, beside whose weights lie other things."""
    state = {name: tensor.detach() for name, tensor in checkpoints.random(shapes).items()}
    torch.save({"model": state, "optimizer": {"state": {}}, "config": {"run": {"seed": 42}}, "epoch": 3}, file)
    return state


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bases")
    llama().save_pretrained(folder / "llm")
    tiny.tokenizer().save_pretrained(folder / "llm")
    eye = Blip2VisionModel(Blip2VisionConfig(**EYE))
    torch.nn.init.normal_(eye.post_layernorm.weight)  # BLIP-2's own: MiniGPT-v2 must not use it
    eye.save_pretrained(folder / "eva")
    return {"llm": str(folder / "llm"), "eva": str(folder / "eva")}


@pytest.mark.parametrize("adapter", ["", ".default"])
def test_the_true_file_is_known(adapter: str) -> None:
    shapes = minigpt_v2(TRUE, adapter)
    assert len(shapes) == 2 * 2 * 32 + 2
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 33_554_432 + 23_072_768
    made = MiniGPTv2()
    layout, match = best(made.layouts, shapes, "x")
    assert (layout, match.faults) == ("peft 0.3" if adapter else "peft 0.2", 0)
    check_sizes("x", made, match.sizes)


def test_keys_that_do_not_belong_are_named() -> None:
    shapes = minigpt_v2(TRUE) | {"ln_vision.weight": (1408,)}
    with pytest.raises(KeysError, match=r"unknown \(1\): ln_vision.weight"):
        best(MiniGPTv2().layouts, shapes, "x")


def test_minigpt_v2_there_and_back(bases: dict[str, str], tmp_path: Path) -> None:
    state = saved(minigpt_v2(SMALL), tmp_path / "stage3.pth")
    overrides = ["llm.dtype=float32", "encoders.vision.size=56"]
    convert("minigpt_v2", tmp_path / "stage3.pth", tmp_path / "out", bases=bases, overrides=overrides, any_size=True)
    model = AnyX.from_pretrained(tmp_path / "out")
    direct = llama()
    direct.load_state_dict(type(direct).from_pretrained(bases["llm"]).state_dict())
    named = {name.replace(".weight", ".default.weight"): x for name, x in state.items() if "lora" in name}
    ids = torch.randint(0, 330, (2, 7))
    with torch.no_grad():
        states = model.llm.states(model.llm.embed(ids), torch.ones_like(ids, dtype=torch.bool))
        wanted = merged(direct, named, SMALL["rank"], alpha=16)(input_ids=ids).logits
    torch.testing.assert_close(model.llm.logits(states), wanted, atol=1e-4, rtol=1e-4)
    picture = Image(torch.randint(0, 255, (3, 40, 70), dtype=torch.uint8))
    assert_eye_without_blip_2_s_norm(model, picture, state)
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "[grounding] look"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=3).keys in (["text"], [])
    export("minigpt_v2", tmp_path / "out", tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_minigpt_4_over_llama_2_there_and_back(bases: dict[str, str], tmp_path: Path) -> None:
    state = saved({"llama_proj.weight": (32, 32), "llama_proj.bias": (32,)}, tmp_path / "llama2.pth")
    overrides = ["llm.dtype=float32", "encoders.vision.size=56"]
    folder = tmp_path / "out"
    convert("minigpt4_llama2", tmp_path / "llama2.pth", folder, bases=bases, overrides=overrides, any_size=True)
    picture = Image(torch.randint(0, 255, (3, 40, 70), dtype=torch.uint8))
    assert_eye_without_blip_2_s_norm(AnyX.from_pretrained(folder), picture, state)
    export("minigpt4_llama2", folder, tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: x.tolist() for n, x in state.items()}
    made = MiniGPT4Llama2()
    _, match = best(made.layouts, {"llama_proj.weight": (4096, 5632), "llama_proj.bias": (4096,)}, "x")
    check_sizes("x", made, match.sizes)


def assert_eye_without_blip_2_s_norm(model: AnyX, picture: Image, state: dict[str, Tensor]) -> None:
    """A LayerNorm of weight 1, bias 0; no class token; four neighbours; the file's map."""
    made = model.processor.transforms["image"](picture)
    encoder = model.encoders["vision"]
    with torch.no_grad():
        before: list[Tensor] = []
        tower: Any = encoder.tower
        hook = tower.encoder.register_forward_hook(lambda m, a, out: before.append(out.last_hidden_state))
        tokens = encoder({"pixels": made["pixels"][None]})
        hook.remove()
        seen = F.layer_norm(before[0], (8,), eps=1e-5)[:, 1:]
        torch.testing.assert_close(tokens.values, seen)
        assert seen.shape == (1, 16, 8)
        projected = model.inputs["image"].projector(tokens).values
        wanted = F.linear(seen.reshape(1, 4, 32), state["llama_proj.weight"].float(), state["llama_proj.bias"].float())
    torch.testing.assert_close(projected, wanted, atol=1e-4, rtol=1e-4)


def blip2(folder: Path) -> Blip2ForConditionalGeneration:
    """A small BLIP-2 of random weights, in shards, in transformers' form."""
    reader = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    talker = {"hidden_size": 8, "ffn_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Blip2Config(
        vision_config=EYE,
        qformer_config=reader | {"encoder_hidden_size": 8, "vocab_size": 11},
        text_config=talker | {"model_type": "opt", "vocab_size": 20, "word_embed_proj_dim": 8},
        num_query_tokens=3,
    )
    model = Blip2ForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder, max_shard_size="12KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return model


def test_minigpt_4_there_and_back(bases: dict[str, str], tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = blip2(tmp_path / "blip2")
    state = saved({"llama_proj.weight": (32, 12), "llama_proj.bias": (32,)}, tmp_path / "stage2.pth")
    given = {"llm": bases["llm"], "blip2": str(tmp_path / "blip2")}
    overrides = ["llm.dtype=float32", "encoders.vision.eps=1e-6"]  # transformers', to compare with
    convert("minigpt4", tmp_path / "stage2.pth", tmp_path / "out", bases=given, overrides=overrides, any_size=True)
    model = AnyX.from_pretrained(tmp_path / "out")
    pixels = torch.randn(2, 3, 28, 28)
    with torch.no_grad():
        tokens = model.encoders["vision"]({"pixels": pixels})
        seen = whole.vision_model(pixel_values=pixels).last_hidden_state
        queries = whole.query_tokens.expand(2, -1, -1)
        wanted = whole.qformer(query_embeds=queries, encoder_hidden_states=seen).last_hidden_state
        torch.testing.assert_close(tokens.values, wanted)
        projected = model.inputs["image"].projector(tokens).values
    weight, bias = (state[f"llama_proj.{leaf}"].float() for leaf in ("weight", "bias"))
    torch.testing.assert_close(projected, F.linear(wanted, weight, bias))
    export("minigpt4", tmp_path / "out", tmp_path / "back.pt")
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert found.keys() == state.keys()


@pytest.mark.parametrize(("variant", "width"), [("7b", 4096), ("13b", 5120)])
def test_minigpt_4_s_true_files(variant: str, width: int) -> None:
    made = MiniGPT4()
    _, match = best(made.layouts, {"llama_proj.weight": (width, 768), "llama_proj.bias": (width,)}, "x")
    check_sizes("x", made, match.sizes)
    assert made.published[variant]["width"] == width
    _, match = best(made.layouts, {"llama_proj.weight": (4096, 5632), "llama_proj.bias": (4096,)}, "x")
    with pytest.raises(ValueError, match="encoded 5632 instead of 768"):
        check_sizes("x", made, match.sizes)
