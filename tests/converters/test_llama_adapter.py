"""LLaMA-Adapter V2's and ImageBind-LLM's files, of the true keys -> a model folder -> the same file; true shapes.

What a folder computes is held against the same file run in Meta's own arithmetic (`meta_llama.py`), in which no row of
a query changes its place.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import meta_llama
import pytest
import small
import tiny
import torch
from meta_llama import SMALL, TRUE, State
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, LlamaConfig, LlamaForCausalLM

from anyx import AnyX, Image
from anyx.context import Context, carry
from anyx.converters import meta
from anyx.converters.keys import KeysError, best
from anyx.converters.llama_adapter import ImageBindLLM, LlamaAdapterV2
from anyx.converters.systems import check_sizes, convert, export
from anyx.interfaces import Reading, Tokens

STAGES = {
    "first stage": (False, False, False),
    "biases": (True, False, False),
    "biases and lora": (True, True, False),
    "biases, whole": (True, False, True),
    "biases and lora, whole": (True, True, True),
}
EYES = {"llama_adapter_v2": (meta_llama.adapter_v2, {}), "imagebind_llm": (meta_llama.imagebind_llm, {"tokens": 1})}
MADE = {"llama_adapter_v2": LlamaAdapterV2, "imagebind_llm": ImageBindLLM}


def shapes(system: str, sizes: dict[str, int], stage: str) -> meta_llama.Shapes:
    biases, lora, whole = STAGES[stage]
    return EYES[system][0](sizes) | meta_llama.llm(sizes, biases=biases, lora=lora, whole=whole)


def random(system: str, stage: str) -> State:
    torch.manual_seed(len(stage))
    return meta_llama.random(shapes(system, SMALL, stage), SMALL["prompted"])


class Given(NamedTuple):
    """By system: what a folder stands on, and the values of its YAML that make its parts small."""

    bases: dict[str, dict[str, str]]
    overrides: dict[str, list[str]]


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Given:
    """The bases of both systems; the LLM's own weights play no part where a file is whole."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("bases")
    config = LlamaConfig(
        vocab_size=SMALL["rows"],
        hidden_size=SMALL["width"],
        intermediate_size=SMALL["inner"],
        num_hidden_layers=SMALL["layers"],
        num_attention_heads=SMALL["heads"],
        num_key_value_heads=SMALL["heads"],
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "llm")
    tiny.tokenizer().save_pretrained(folder / "llm")
    eye = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    eye |= {"image_size": 28, "patch_size": 14, "projection_dim": SMALL["encoded"]}
    CLIPVisionModelWithProjection(CLIPVisionConfig(**eye)).save_pretrained(folder / "vision")
    inputs = small.imagebind(folder / "imagebind.safetensors")
    paths = {
        "llama_adapter_v2": {"llm": str(folder / "llm"), "vision": str(folder / "vision")},
        "imagebind_llm": {"llm": str(folder / "llm"), "imagebind": str(folder / "imagebind.safetensors")},
    }
    return Given(paths, {"llama_adapter_v2": ["inputs.image.projector.heads=2"], "imagebind_llm": inputs})


def converted(system: str, given: Given, state: State, out: Path, **bases: str) -> AnyX:
    torch.save({"model": state, "config": {"max_words": 2048}}, out.with_suffix(".pth"))
    values = ["llm.dtype=float32", *given.overrides[system]]
    named = given.bases[system] | bases
    convert(system, out.with_suffix(".pth"), out, bases=named, overrides=values, any_size=True)
    return AnyX.from_pretrained(out)


def answered(model: AnyX, ids: Tensor, media: Tensor) -> Tensor:
    with torch.no_grad(), carry(Context({"prompts": Reading({"media": media})})):
        return model.llm.model(input_ids=ids, use_cache=False).logits


def assert_the_same_file(system: str, folder: Path, state: State) -> None:
    export(system, folder, folder.with_name("back.pth"))
    found = torch.load(folder.with_name("back.pth"), weights_only=True)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("stage", list(STAGES))
@pytest.mark.parametrize("system", list(MADE))
def test_the_true_files_are_known(system: str, stage: str) -> None:
    made = MADE[system]()
    own = TRUE | ({"prompted": 32, "encoded": 1024, "tokens": 1} if system == "imagebind_llm" else {})
    layout, match = best(made.layouts, shapes(system, own, stage), "x")
    assert (layout, match.faults) == (stage, 0)
    check_sizes("x", made, match.sizes)
    if "whole" in stage:
        count = sum(torch.Size(shape).numel() for shape in shapes(system, own, "biases, whole").values())
        assert 6.7e9 < count < 7.5e9


def test_keys_that_do_not_belong_are_named() -> None:
    found = shapes("llama_adapter_v2", TRUE, "biases")
    strange = found | {"llama.layers.3.attention.new_gate": (1, 1, 1, 1)}
    with pytest.raises(KeysError, match=r"unknown \(1\): llama.layers.3.attention.new_gate"):
        best(LlamaAdapterV2().layouts, strange, "x")
    del found["llama.layers.7.attention.wo.bias"]
    with pytest.raises(KeysError, match=r"missing \(1\): llama.layers.7.attention.wo.bias"):
        best(LlamaAdapterV2().layouts, found, "x")
    found["llama.layers.7.attention.wo.bias"] = (4095,)
    with pytest.raises(KeysError, match=r"misshaped \(1\): llama.layers.7.attention.wo.bias is 4095 instead of 4096"):
        best(LlamaAdapterV2().layouts, found, "x")


def test_rows_from_pairs_to_halves() -> None:
    """Row 2 i of a head, and 2 i + 1, are rows i and i + f / 2 in transformers' order."""
    heads, f = 3, 8
    x = torch.arange(heads * f)
    y = meta.halves(x, heads)
    for head in range(heads):
        for i in range(f // 2):
            assert y[head * f + i] == head * f + 2 * i
            assert y[head * f + f // 2 + i] == head * f + 2 * i + 1
    assert torch.equal(meta.pairs(y, heads), x)


def seen_by_v2(state: State, tokens: Tensor) -> Tensor:
    """What V2 makes of CLIP's tokens, in PyTorch's own transformer layers."""
    hidden, count = SMALL["hidden"], SMALL["tokens"]
    x = F.linear(tokens, state["clip_proj.weight"], state["clip_proj.bias"])
    x = F.layer_norm(x, (hidden,), state["clip_proj_norm.weight"], state["clip_proj_norm.bias"])
    x = torch.cat([state["visual_query.weight"].expand(len(x), -1, -1), x], 1)
    for block in range(SMALL["blocks"]):
        layer = nn.TransformerEncoderLayer(hidden, 2, 4 * hidden, 0.0, "gelu", batch_first=True, norm_first=True)
        names = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj.": "attn.proj.", "linear1.": "mlp.fc1."}
        names |= {"linear2.": "mlp.fc2.", "norm1.": "norm1.", "norm2.": "norm2."}
        own = {f"{mine}{leaf}": state[f"visual_blocks.{block}.{theirs}{leaf}"]
               for mine, theirs in names.items() for leaf in ("weight", "bias")}  # fmt: skip
        layer.load_state_dict(own)
        x = layer(x)
    x = F.linear(x[:, :count], state["visual_proj.weight"], state["visual_proj.bias"])
    return F.layer_norm(x, (SMALL["width"],), state["visual_proj_norm.weight"], state["visual_proj_norm.bias"])


def seen_by_imagebind_llm(state: State, tokens: Tensor) -> Tensor:
    x = F.linear(F.normalize(tokens, dim=-1), state["image_bind_proj.weight"], state["image_bind_proj.bias"])
    for block in "123":
        y = meta_llama.norm(x, state[f"image_bind_norm_{block}.weight"], 1e-6)
        f1, f2, f3 = (state[f"image_bind_f{side}_{block}.weight"].T for side in "123")
        x = x + (F.silu(y @ f1) * (y @ f3)) @ f2
    return x


@pytest.mark.parametrize("system", list(MADE))
def test_a_whole_file_computes_as_in_meta_s_arithmetic(system: str, given: Given, tmp_path: Path) -> None:
    state = random(system, "biases and lora, whole")
    model = converted(system, given, state, tmp_path / "out")
    tokens, ids = (
        torch.randn(2, 5 if system == "llama_adapter_v2" else 1, SMALL["encoded"]),
        torch.randint(0, 330, (2, 7)),
    )
    with torch.no_grad():
        media = model.inputs["image"].projector(Tokens.full(tokens)).values
        wanted = (seen_by_v2 if system == "llama_adapter_v2" else seen_by_imagebind_llm)(state, tokens)
    torch.testing.assert_close(media, wanted, atol=1e-5, rtol=1e-5)
    queries = state["adapter_query.weight" if system == "llama_adapter_v2" else "prefix_query.weight"]
    prompts = queries.reshape(SMALL["prompted"], 1, -1, SMALL["width"]) + media
    wanted = meta_llama.logits(state, ids, prompts, SMALL["heads"])
    torch.testing.assert_close(answered(model, ids, media), wanted, atol=2e-4, rtol=2e-4)
    closed = state | {n: torch.zeros_like(x) for n, x in state.items() if n.endswith("gate")}
    shut = meta_llama.logits(closed, ids, prompts, SMALL["heads"])
    assert (wanted - shut).abs().max() > 1e-2, "prompts are heard"
    assert_the_same_file(system, tmp_path / "out", state)
    # The same adapter as a file of its own, over the LLM that the whole file has become.
    some = {name: x for name, x in state.items() if name in shapes(system, SMALL, "biases and lora")}
    tiny.tokenizer().save_pretrained(tmp_path / "out" / "llm")
    again = converted(system, given, some, tmp_path / "some", llm=str(tmp_path / "out" / "llm"))
    torch.testing.assert_close(answered(again, ids, media), answered(model, ids, media))


@pytest.mark.parametrize("stage", ["first stage", "biases", "biases and lora", "biases, whole"])
@pytest.mark.parametrize("system", list(MADE))
def test_there_and_back(system: str, stage: str, given: Given, tmp_path: Path) -> None:
    state = random(system, stage)
    model = converted(system, given, state, tmp_path / "out")
    assert model.llm.adapters.keys() == ({"prompts"} if stage == "first stage" else {"prompts", "tuned"})
    picture = Image(torch.randint(0, 255, (3, 40, 70), dtype=torch.uint8))
    content = [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]
    assert model.chat([{"role": "user", "content": content}], max_new_tokens=2).keys in (["text"], [])
    assert model.config is not None
    assert (model.config.encoders["vision"].kwargs.get("bgr") is True) == (system == "llama_adapter_v2")
    assert_the_same_file(system, tmp_path / "out", state)
    assert "GPL-3.0" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("stage", "dtype", "llm"),
    [
        ("first stage", torch.float32, "bfloat16"),  # how prompts are trained, whatever the LLM ran in
        ("first stage", torch.float16, "float16"),
        ("biases, whole", torch.float32, "float32"),
    ],
)
def test_the_llm_s_type(stage: str, dtype: torch.dtype, llm: str, given: Given, tmp_path: Path) -> None:
    system = "llama_adapter_v2"
    state = {name: x.to(dtype) for name, x in random(system, stage).items()}
    torch.save(state, tmp_path / "a.pth")
    made = convert(
        system,
        tmp_path / "a.pth",
        tmp_path / "out",
        bases=given.bases[system],
        overrides=given.overrides[system],
        any_size=True,
    )
    assert made.config.llm is not None
    assert made.config.llm.dtype == llm


def test_refusals(given: Given, tmp_path: Path) -> None:
    state = random("llama_adapter_v2", "first stage")
    gate = {"llama.layers.0.attention.gate": torch.ones(1, SMALL["heads"], 1, 1)}
    with pytest.raises(ValueError, match="the gate of layer 0 is not zero, but only the last 2 layers have prompts"):
        converted("llama_adapter_v2", given, state | gate, tmp_path / "out")
    more = {"adapter_query.weight": torch.zeros(7, SMALL["width"])}
    with pytest.raises(ValueError, match="7 prompts, 3 in a layer, are no whole number of the LLM's 3 layers"):
        converted("llama_adapter_v2", given, state | more, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="not of the published sizes"):
        convert("llama_adapter_v2", tmp_path / "x.pth", tmp_path / "out", bases=given.bases["llama_adapter_v2"])
