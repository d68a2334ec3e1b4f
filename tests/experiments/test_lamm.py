"""LAMM's recipe, tiny: a stage teaches one modality's map and LoRA, from pictures in the repo and clouds of a seed."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file

from anyx import AnyX, yamls
from anyx.config import check, load
from anyx.data.sources import feed
from anyx.grounding import Size, codec
from anyx.media import Series
from anyx.prompt import IGNORE, Prompt
from anyx.training.run import train

LAMM = Path(__file__).parents[2] / "experiments" / "lamm"
STEPS = 20


def clouds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("clouds", LAMM / "clouds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_hyper_parameters_are_the_published_ones() -> None:
    """Sheet 1.18 and section 5: 5e-4 for LoRA and one map, batches of 64, two epochs, Adam .9 and .95, 400 tokens."""
    config = load(LAMM / "experiment.yaml")
    assert list(config.stages) == ["pictures", "clouds"]
    for (name, stage), key in zip(config.stages.items(), ("image", "cloud"), strict=True):
        assert stage.train == {f"inputs.{key}.projector": 5e-4, "llm.lora": 5e-4}
        assert stage.data == {name: 1}
        assert (stage.batch_size * stage.accumulate, stage.epochs, stage.max_length) == (64, 2, 400)
        assert list(stage.betas) == [0.9, 0.95]
    assert config.llm is not None
    assert config.llm.lora is not None
    assert [config.llm.lora[name] for name in ("r", "alpha", "dropout")] == [32, 32, 0.1]
    assert sorted(config.llm.lora["targets"]) == ["k_proj", "o_proj", "q_proj", "v_proj"]


def test_clouds_of_a_seed(tmp_path: Path) -> None:
    """The same seed gives the same files; what is said of a cloud is where its points are."""
    made = clouds()
    path, again = (made.make(tmp_path / name, count=3) for name in ("a", "b"))
    assert path.read_text() == again.read_text()
    for row in json.loads(path.read_text()):
        points = Series.read(path.parent / row["pcl"]).values
        assert torch.equal(points, Series.read(again.parent / row["pcl"]).values)
        (box,) = codec("space", {}).parse(row["conversations"][-1]["value"], Size(1, 1)).regions[0].boxes
        middle, sides = torch.tensor(box).chunk(2)
        assert float(((points - middle[:, None]).abs() - sides[:, None] / 2).max()) <= 0.01
        span = points.amax(1) - points.amin(1)
        torch.testing.assert_close(span, sides, atol=0.15, rtol=0.1)


def small(folder: Path) -> dict[str, Any]:
    """The tiny YAML with its clouds in a folder, and steps enough to learn something."""
    raw = yamls.read(LAMM / "tiny.yaml")
    path = clouds().make(folder / "clouds")
    raw["data"]["clouds"] |= {"path": str(path), "root": str(path.parent)}
    for stage in filter(None, raw["stages"].values()):
        stage |= {"epochs": None, "steps": STEPS, "workers": 0, "log_every": 1, "schedule": "constant"}
        stage["train"] = dict.fromkeys(stage["train"], 3e-2)
    return raw


def test_both_stages_learn_and_the_model_answers(tmp_path: Path) -> None:
    """One after the other in one run; each moves its own map and LoRA, and its loss falls by a tenth or more."""
    raw = small(tmp_path)
    folder = train(check(raw), out=tmp_path / "run", cache=tmp_path / "cache", device="cpu")
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    model = AnyX.from_pretrained(folder)
    for stage, key in (("pictures", "image"), ("clouds", "cloud")):
        learnt = load_file(folder / stage / "final.safetensors")
        here = [name for name in learnt if name.startswith("inputs.")]
        assert here
        assert all(name.startswith(f"inputs.{key}.projector.") for name in here)
        assert all(float(x.abs().sum()) > 0 for name, x in learnt.items() if "lora_B" in name)
        losses = [float(row["text"]) for row in rows if row["stage"] == stage]
        assert len(losses) == STEPS
        assert sum(losses[-5:]) < 0.9 * sum(losses[:5]), stage
        asked = feed(stage, raw["data"][stage]).source[0]["messages"][0]
        assert [part["type"] for part in asked["content"]] == [key, "text"]
        reply = model.chat([{"role": "system", "content": "Look."}, asked], max_new_tokens=8)
        assert reply.text, "it says something, in letters"


@pytest.mark.parametrize("key", ["image", "cloud"])
def test_what_is_learnt_of_a_record(key: str, tmp_path: Path) -> None:
    """The replies, boxes among them, and their ends: nothing of the words asked or of the tags."""
    raw = small(tmp_path)
    source = feed("x", raw["data"]["pictures" if key == "image" else "clouds"]).source
    replies = [message["content"][-1]["text"] for message in source[0]["messages"] if message["role"] == "assistant"]
    assert len(replies) == 2
    assert [part["type"] for part in source[0]["messages"][0]["content"]] == [key, "text"]
    llm = load(LAMM / "tiny.yaml").llm
    assert llm is not None
    words = tiny.tokenizer()  # the one of the tiny model knows no words
    encoded = Prompt(words, llm.template, ["image", "cloud"]).encode(source[0]["messages"])
    learnt = words.decode([label for label in encoded.labels if label != IGNORE])
    assert learnt == "".join(f"{reply}\n###" for reply in replies)
