"""LLaVA's recipe, tiny: both stages learn what they should from data in English and Chinese, and the model answers."""

# ruff: noqa: RUF001 - Chinese has marks of its own

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anyx import AnyX, yamls
from anyx.config import ConfigError, check, load
from anyx.data.formats import LlavaSource
from anyx.data.native import Tally, open_source, records_of, write
from anyx.training.run import train

LLAVA = Path(__file__).parents[2] / "experiments" / "llava"
DATA = LLAVA / "data"


def test_hyper_parameters_are_the_published_ones() -> None:
    """Sheet 1.1: batches of 256 and 128, rates, one epoch, cosine, warmup 0.03, no decay, 2048 tokens."""
    for name, learns in (
        ("configs/models/llava15.yaml", {"llm.body": 2e-5}),
        (LLAVA / "lora.yaml", {"llm.lora": 2e-4}),
    ):
        stages = load(LLAVA.parents[1] / name).stages
        align, instruct = stages.values()
        assert {part: rate for part, rate in align.train.items() if rate} == {"inputs.*.projector": 1e-3}
        assert {part: rate for part, rate in instruct.train.items() if rate} == {"inputs.*.projector": 2e-5, **learns}
        assert (align.batch_size * align.accumulate, instruct.batch_size * instruct.accumulate) == (256, 128)
        for stage in (align, instruct):
            assert (stage.epochs, stage.schedule, stage.warmup, stage.weight_decay, stage.max_length) == (
                1, "cosine", 0.03, 0.0, 2048,
            )  # fmt: skip
    lora = load(LLAVA / "lora.yaml").llm
    assert lora is not None
    assert lora.lora is not None
    assert (lora.lora["r"], lora.lora["alpha"], lora.lora["dropout"]) == (128, 256, 0.05)


@pytest.mark.parametrize("system", ["llava15", "llava_next", "lora"])
def test_both_stages_learn(system: str, tmp_path: Path) -> None:
    raw = yamls.read(LLAVA / "tiny.yaml")
    if system == "llava_next":
        projector = {"type": "anyres", "layers": 2}
        raw["encoders"]["vision"] |= {"grids": [[28, 56], [56, 28], [56, 56]], "merge": "unpad"}
        raw["inputs"]["image"]["projector"] = projector
        raw["stages"]["instruct"]["train"]["encoders.vision"] = 2e-6
    if system == "lora":
        raw["llm"]["lora"] = {"r": 2, "alpha": 4, "targets": ["q_proj", "up_proj"]}
        raw["stages"]["instruct"]["train"] = {"inputs.*.projector": 2e-3, "llm.lora": 2e-3}
    folder = train(check(raw), out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    first, second = (load_file(folder / name / "final.safetensors") for name in ("align", "instruct"))
    assert all(name.startswith("inputs.image.projector.") for name in first)
    moved = [name for name, x in first.items() if not torch.equal(x, second[name])]
    assert moved  # the second stage goes on from the first
    assert any(name.startswith("llm.model.") and ("lora" in name) == (system == "lora") for name in second)
    assert any(name.startswith("encoders.vision.") for name in second) == (system == "llava_next")
    model = AnyX.from_pretrained(folder)  # with what the second stage made of the whole LLM, and of the tower
    tensors = model.state_dict()
    assert all(torch.equal(tensors[name].cpu(), x) for name, x in second.items() if not name.startswith("training."))
    again = AnyX.from_pretrained(model.save_pretrained(tmp_path / "again"))
    assert again.learnt == model.learnt
    content = [{"type": "image", "path": str(DATA / "swan.webp")}, {"type": "text", "text": "这是什么？"}]
    chat = [{"role": "user", "content": content}]
    assert again.chat(chat, max_new_tokens=2).parts == model.chat(chat, max_new_tokens=2).parts


def texts(source: LlavaSource) -> list[str]:
    """The records in one line each, media as <image>."""
    return [
        " | ".join(
            "".join(part.get("text", "<image>") for part in message["content"]) for message in record["messages"]
        )
        for record in source[:]
    ]


def test_data_in_chinese_as_in_english(tmp_path: Path) -> None:
    assert texts(LlavaSource(DATA / "captions.json", requests=False)) == ["<image> | a swan", "<image> | 一只羊"]
    whole = texts(LlavaSource(DATA / "captions.json", front=True))
    assert whole == ["<image>What is this? | a swan", "<image>这是什么？ | 一只羊"]
    assert texts(LlavaSource(DATA / "captions.json"))[1] == "这是什么？<image> | 一只羊"
    mixture = texts(LlavaSource(DATA / "instruct.json", front=True))
    assert mixture[2:] == ["<image><image>Which of them has wings? | The first one.", "你好！ | 你好，有什么可以帮你？"]
    tally, out = Tally(), tmp_path / "native.jsonl"
    source = open_source("llava", DATA / "instruct.json", {"front": True})
    write(records_of(source, tally, check=True, strict=True, limit=None), out)
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["swan", "羊", "both", "words"]


def test_a_stage_s_template_is_its_own() -> None:
    config = load(LLAVA / "tiny.yaml")
    assert {name: stage.template for name, stage in config.stages.items()} == {"align": "llava_plain", "instruct": None}
    with pytest.raises(ConfigError, match=r"stages.align.template: 'plane' is not one of chatml"):
        load(LLAVA / "tiny.yaml", ["stages.align.template=plane"])
    with pytest.raises(ConfigError, match=r"stages.align.template.user.prefx: Key 'prefx' not in 'turn'"):
        load(LLAVA / "tiny.yaml", ["stages.align.template={user: {prefx: a}, assistant: {}}"])
