"""`anyx merge`: the merged model says what the unmerged one said, its LLM is an ordinary one of transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
import yaml
from test_build import configure, raw_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from anyx import AnyX
from anyx.build import build
from anyx.commands import main
from anyx.media import Image
from anyx.merging import merge

CHAT = [{"role": "user", "content": "Draw a red fox, please."}]


def folder_of(place: Path, llm: str, **changes: Any) -> Path:
    """A saved model of random weights, LoRA's too, with a stage that learns it."""
    raw = raw_model(llm)
    raw["llm"] |= {"lora": {"r": 2, "targets": "all-linear"}} | changes
    raw["stages"] = {
        "one": {"train": {"llm.*": 1e-4}, "losses": {"text": 1}, "data": {"x": {"path": "x.jsonl"}}, "steps": 1}
    }
    made = build(configure(place / "model.yaml", raw))
    for tensor in made.own_state().values():
        tensor.normal_(std=0.3)
    return made.save_pretrained(place / "saved")


def ids_of(model: AnyX) -> list[int]:
    """What it says in words, and how often it opened a signal group."""
    text = model.chat(CHAT, max_new_tokens=24).text
    return list(model.llm.tokenizer(text).input_ids)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_merged_model_says_the_same(kind: str, tmp_path: Path, tiny_llm_folder: str) -> None:
    llm = tiny_llm_folder
    if kind == "gpt2":  # whose matrices lie the other way round
        words = tiny.tokenizer()
        sizes = {"vocab_size": len(words), "n_embd": 32, "n_layer": 2, "n_head": 4, "initializer_range": 0.2}
        AutoModelForCausalLM.from_config(AutoConfig.for_model("gpt2", **sizes)).save_pretrained(tmp_path / "llm")
        words.save_pretrained(tmp_path / "llm")
        llm = str(tmp_path / "llm")
    source = folder_of(tmp_path, llm)
    with pytest.raises(SystemExit) as ended:
        main(["merge", str(source), str(tmp_path / "merged"), "--shard", "20KB"])
    assert ended.value.code == 0
    before, after = AnyX.from_pretrained(source), AnyX.from_pretrained(tmp_path / "merged")
    assert after.llm.lora is None
    assert len(list((tmp_path / "merged" / "llm").glob("*.safetensors"))) > 1
    assert not [name for name in after.own_state() if "lora" in name]
    ids = torch.tensor([[5, 6, 7, *before.llm.groups["image"]]])
    read = torch.ones_like(ids, dtype=torch.bool)
    with torch.no_grad():
        old, new = (one.llm.states(one.llm.embed(ids), read) for one in (before, after))
        bare = (
            AutoModelForCausalLM.from_pretrained(tmp_path / "merged" / "llm").base_model(ids[:, :3]).last_hidden_state
        )
    torch.testing.assert_close(new, old, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(bare, old[:, :3], atol=2e-5, rtol=1e-4)
    assert ids_of(before) == ids_of(after)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged" / "llm")) == len(before.llm.tokenizer)
    pictures = [
        one.outputs["image"].decoder(
            one.condition("image", one.llm.embed_signals(ids[:, 3:])),
            generators=[torch.Generator().manual_seed(0)],
            steps=1,
        )
        for one in (before, after)
    ]
    first, second = (made[0] for made in pictures)
    assert isinstance(first, Image)
    assert torch.equal(first.pixels, second.pixels)
    raw = yaml.safe_load((tmp_path / "merged" / "config.yaml").read_text())
    assert raw["llm"]["path"] == "./llm"
    assert not {"stages", "data"} & set(raw)


def test_the_llm_is_stored_in_the_type_asked_for(tmp_path: Path, tiny_llm_folder: str) -> None:
    source = folder_of(tmp_path, tiny_llm_folder)
    merge(source, tmp_path / "half", dtype="bfloat16")
    assert json.loads((tmp_path / "half" / "llm" / "config.json").read_text())["dtype"] == "bfloat16"
    assert AnyX.from_pretrained(tmp_path / "half").llm.model.dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"dtype: 'int3' is not one of float32, bfloat16, float16"):
        merge(source, tmp_path / "none", dtype="int3")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="half holds something already"):
        merge(source, tmp_path / "half")


def test_what_cannot_be_merged_is_refused(tmp_path: Path, tiny_llm_folder: str) -> None:
    with pytest.raises(ValueError, match="has no LoRA: nothing to merge"):
        merge(folder_of(tmp_path, tiny_llm_folder, lora=None), tmp_path / "none")
    words = tiny.tokenizer()
    words.save_pretrained(tmp_path / "bits")
    tiny.causal_lm(words).save_pretrained(tmp_path / "bits")
    said = json.loads((tmp_path / "bits" / "config.json").read_text())
    how = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
    (tmp_path / "bits" / "config.json").write_text(json.dumps(said | {"quantization_config": how}))
    (tmp_path / "two").mkdir()
    source = folder_of(tmp_path / "two", str(tmp_path / "bits"), lora={"r": 2, "targets": ["q_proj"]})
    with pytest.raises(ValueError, match=r"its LLM is quantised \(bitnet\); LoRA stays beside it"):
        merge(source, tmp_path / "none")
    tied = folder_of(tmp_path, tiny_llm_folder, lora={"r": 2, "targets": ["lm_head"]})
    with pytest.raises(ValueError, match=r"llm.lora: lm_head is the LLM's table of words"):
        merge(tied, tmp_path / "none")
