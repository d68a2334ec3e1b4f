"""Bodies of many families, tiny and random, read from folders: they read, learn by LoRA, say groups, speak as theirs.

Of multimodal models the language model is the body; what is no decoder of attention is refused in one line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import transformers as hf
from transformers.models.auto.modeling_auto import AutoModelForMultimodalLM

from anyx.llm import LLM

WORDS = tiny.tokenizer()
ENDS = {"bos_token_id": WORDS.bos_token_id, "eos_token_id": WORDS.eos_token_id, "pad_token_id": WORDS.pad_token_id}
SIZES = {"vocab_size": len(WORDS) + 6, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2} | ENDS
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.2}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
NARROW = {"head_dim": 8, "sliding_window": 4}  # fewer than a prompt and a group are
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 4},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {"head_dim": 8, "num_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
    "gemma": {"head_dim": 8},
    "gemma2": NARROW,
    "gemma3_text": NARROW | {"layer_types": ["sliding_attention", "full_attention"]},
    "phi3": {},
    "gpt_neox": {},
    "gpt2": OLD,
    "opt": {"ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2},
    "falcon": {},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 256},
    "olmo2": {},
    "stablelm": {},
    "granite": {"logits_scaling": 3.0, "embedding_multiplier": 2.0},
    "cohere": {"logit_scale": 0.25},
}
PLAIN_HEADS = set(FAMILIES) - {"gemma2", "granite", "cohere"}
LORA = {"r": 2, "targets": "all-linear"}
SEES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
SEES |= {"image_size": 28, "patch_size": 14}
TURNS = {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
LOOKS = {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "intermediate_size": 32, "out_hidden_size": 32}
HEARS = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "num_mel_bins": 8}
MULTIMODAL: dict[str, tuple[dict[str, Any], str]] = {  # with the class that is left of it
    "llava": (
        {"text_config": SIZES | {"model_type": "llama"}, "vision_config": SEES | {"model_type": "clip_vision_model"}},
        "LlamaForCausalLM",
    ),
    "qwen2_vl": ({"text_config": SIZES | TURNS, "vision_config": LOOKS}, "Qwen2VLForConditionalGeneration"),
    "gemma3": (
        {
            "text_config": SIZES | NARROW,
            "vision_config": SEES | {"model_type": "siglip_vision_model"},
            "mm_tokens_per_image": 4,
        },
        "Gemma3ForCausalLM",
    ),
    "idefics3": ({"text_config": SIZES | {"model_type": "llama"}, "vision_config": SEES}, "LlamaForCausalLM"),
    "qwen2_audio": (
        {"text_config": SIZES | {"model_type": "qwen2"}, "audio_config": HEARS | {"model_type": "qwen2_audio_encoder"}},
        "Qwen2ForCausalLM",
    ),
}


def saved(model: Any, folder: Path) -> str:
    """A model's folder, with our words."""
    model.eval().save_pretrained(folder)
    WORDS.save_pretrained(folder)
    return str(folder)


@torch.inference_mode()
def speaks_as(llm: LLM, theirs: Any) -> None:
    """A row says what it says alone in transformers, though its neighbour is longer and says a signal group."""
    said, ids = [], torch.tensor([[5, 6, 7, 8, 9, 10, 11]])
    ours = llm.logits(llm.states(llm.embed(ids), torch.ones_like(ids, dtype=torch.bool)))[..., : llm.vocabulary]
    wanted = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)
    prompts = torch.tensor([[0, 0, 0, 5, 6], [7, 8, 9, 10, 11]])
    real = torch.tensor([[False] * 3 + [True] * 2, [True] * 5])
    cache, states = llm.prefill(llm.embed(prompts), real)
    for number in range(10):
        best = llm.logits(states)[:, : llm.vocabulary].argmax(-1).tolist()
        said.append(best[0])
        group = llm.groups["image"] if number == 3 else ()
        states = torch.stack([one[-1] for one in llm.step([[best[0]], [best[1], *group]], cache)])
    alone = {"input_ids": prompts[:1, 3:], "attention_mask": torch.ones(1, 2)}
    assert said == theirs.generate(**alone, max_new_tokens=10, do_sample=False, eos_token_id=None)[0, 2:].tolist()


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_a_family_reads_learns_and_speaks(kind: str, tmp_path: Path) -> None:
    theirs = hf.AutoModelForCausalLM.from_config(hf.AutoConfig.for_model(kind, **SIZES | FAMILIES[kind]))
    llm = LLM.load(saved(theirs, tmp_path), tokens={"image": 3}, lora=LORA)
    speaks_as(llm, theirs)
    ids = torch.tensor([[5, 6, *llm.groups["image"], 7]])
    read = torch.ones_like(ids, dtype=torch.bool)
    logits = llm.logits(llm.states(llm.embed(ids), read))
    torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
    for part in ("llm.lora", "llm.signal_tokens"):
        assert any(one.grad is not None and one.grad.abs().sum() > 0 for one in llm.parts()[part]), part
    assert (llm.scaled is None) == (kind in PLAIN_HEADS)
    with torch.device("meta"):
        assert type(LLM.load(str(tmp_path), weights=False).model) is type(llm.model)


@pytest.mark.parametrize("kind", ["gemma", "gemma3_text"])
def test_signal_tokens_are_read_as_large_as_words(kind: str, tmp_path: Path) -> None:
    """Gemma's table multiplies what it hands out by the root of the width."""
    theirs = hf.AutoModelForCausalLM.from_config(hf.AutoConfig.for_model(kind, **SIZES | FAMILIES[kind]))
    llm = LLM.load(saved(theirs, tmp_path), tokens={"image": 64})
    words, signals = (llm.embed(torch.tensor([ids])) for ids in (range(5, 69), llm.groups["image"]))
    assert 0.8 < float(signals.detach().std() / words.std()) < 1.25


@pytest.mark.parametrize("kind", list(MULTIMODAL))
def test_of_a_multimodal_model_its_language_model_is_the_body(kind: str, tmp_path: Path) -> None:
    sizes, left = MULTIMODAL[kind]
    theirs = AutoModelForMultimodalLM.from_config(hf.AutoConfig.for_model(kind, **sizes))
    llm = LLM.load(saved(theirs, tmp_path), tokens={"image": 3}, lora=LORA)
    assert type(llm.model).__name__ == left
    towers = ("vision", "visual", "audio", "connector", "projector")
    assert not [name for name, _ in llm.model.named_parameters() if any(word in name for word in towers)]
    speaks_as(llm, theirs)
    with torch.device("meta"):
        shell = LLM.load(str(tmp_path), tokens={"image": 3}, lora=LORA, weights=False)
    assert {name: x.shape for name, x in shell.own_state().items()} == {n: x.shape for n, x in llm.own_state().items()}


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("t5", "t5 is an encoder-decoder; a body is a causal LM, such as llama or qwen3"),
        ("whisper", "whisper is an encoder-decoder"),
        ("bert", "bert reads both ways"),
        ("clip", "is no language model"),
        ("mamba", r"mamba keeps more than keys and values"),
        ("qwen3_next", r"qwen3_next keeps more than keys and values \(its cache is of LinearAttentionLayer\)"),
    ],
)
def test_what_is_no_decoder_of_attention_is_refused(kind: str, told: str, tmp_path: Path) -> None:
    hf.AutoConfig.for_model(kind).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"llm.path: .*{told}"):
        LLM.load(str(tmp_path))


def test_a_head_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """HyperCLOVA's key is Granite's, but it multiplies."""
    sizes = SIZES | {"model_type": "hyperclovax", "logits_scaling": 3.0}
    with pytest.raises(ValueError, match="llm: hyperclovax rescales its logits in a way that is not known here"):
        LLM.load(sizes, tokenizer=saved(tiny.causal_lm(WORDS), tmp_path))


def quantised(folder: Path, how: dict[str, Any]) -> str:
    """A plain checkpoint whose configuration says that it is kept otherwise."""
    path = saved(tiny.causal_lm(WORDS), folder)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(said | {"quantization_config": how}))
    return path


def test_a_quantised_checkpoint_stays_as_it_says(tmp_path: Path) -> None:
    """BitNet's layers need no package of their own: the checkpoint's configuration alone makes them."""
    how = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
    path = quantised(tmp_path, how | {"modules_to_not_convert": ["lm_head"]})
    llm = LLM.load(path, tokens={"image": 2}, lora={"r": 2, "targets": ["q_proj"]})
    layer = llm.model.get_decoder().layers[0]
    assert type(layer.mlp.up_proj).__name__ == "AutoBitLinear"
    assert llm.model.config.quantization_config.to_dict()["quant_method"] == "bitnet"
    with pytest.raises(ValueError, match=r"llm.quantize: 'nf4' given, but .* is quantised already \(bitnet\); leave"):
        LLM.load(path, quantize="nf4")


@pytest.mark.parametrize("method", ["gptq", "awq"])
def test_a_quantised_checkpoint_without_its_package_is_refused(method: str, tmp_path: Path) -> None:
    path = quantised(tmp_path, {"quant_method": method, "bits": 4, "group_size": 32})
    with torch.device("meta"):
        shell = LLM.load(path, weights=False)
    assert shell.model.config.to_dict()["quantization_config"]["quant_method"] == method
    with pytest.raises(ValueError, match=rf"llm.path: .* is kept in {method}, which cannot be read here: "):
        LLM.load(path)
