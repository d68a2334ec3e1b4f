"""What a conversion writes beside the weights: paths as they will be found again, LoRA as PEFT's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftConfig
from safetensors.torch import load_file

from anyx.config import check
from anyx.converters.folders import anchored, read, shipped, unshared, write_adapter


def test_paths_are_told_from_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    for path in ("weights", "weights/later", "./later", "../later", "nowhere/imagebind_huge.pth", str(tmp_path)):
        assert anchored(path) == str((tmp_path / path).resolve())
    for name in ("lmsys/vicuna-7b-v1.5", "gpt2", "stable-diffusion-v1-5/stable-diffusion-v1-5"):
        assert anchored(name) == name


def test_the_adapter_is_pefts(tmp_path: Path) -> None:
    lora = {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.randn(2, 4).half()}
    write_adapter(tmp_path / "adapter", lora, {"r": 2, "targets": ["q_proj"]}, "some/base")
    settings = PeftConfig.from_pretrained(str(tmp_path / "adapter"))
    assert isinstance(settings, LoraConfig)
    assert (settings.r, settings.lora_alpha, settings.lora_dropout, settings.bias) == (2, 2, 0.0, "none")
    assert (settings.target_modules, settings.base_model_name_or_path) == ({"q_proj"}, "some/base")
    ((name, tensor),) = load_file(tmp_path / "adapter" / "adapter_model.safetensors").items()
    assert name == "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert torch.equal(tensor, *lora.values())
    write_adapter(tmp_path / "adapter", lora, {"r": 2, "targets": ["q_proj"]}, {"model_type": "llama"})
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] is None


def test_a_shared_projector_is_counted_once() -> None:
    raw = shipped("nextgpt")
    assert set(raw) == {"llm", "encoders", "inputs", "outputs"}
    owner, *others = raw["inputs"]
    for key in others:
        raw["inputs"][key]["projector"] = {"share": f"inputs.{owner}.projector"}
    state = {f"inputs.{key}.projector.proj.bias": torch.ones(1) for key in raw["inputs"]}
    assert list(unshared(check(raw), state)) == [f"inputs.{owner}.projector.proj.bias"]


def test_what_is_no_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is no model folder: it has no config\.yaml and no model\.safetensors"):
        read(tmp_path)
