"""From a YAML to a folder that `from_pretrained` loads: the story of a run, its files, its resumption."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import components
import pytest
import torch

from anyx import config as configs
from anyx.media import Image
from anyx.model import AnyX
from anyx.training import checkpoint, history, run

TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def raw(tmp_path: Path, tiny_llm_folder: str) -> dict[str, Any]:
    torch.manual_seed(3)
    lines = []
    for index in range(6):
        Image(torch.full((3, 16, 16), 40 * index, dtype=torch.uint8)).save(tmp_path / f"{index}.png")
        part = {"type": "image", "path": f"{index}.png", "caption": "fox" * (1 + index % 2)}
        ask: Any = [part, {"type": "text", "text": "What?"}] if index % 2 else "Draw a red fox"
        answer: Any = "A fox." if index % 2 else [part]
        lines.append(
            json.dumps({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]})
        )
    (tmp_path / "chat.jsonl").write_text("\n".join([*lines, "{broken"]))
    decoder = {"type": "stable_diffusion", **components.TINY["decoders"]["stable_diffusion"][0], "text": TEXT}
    decoder["tokenizer"] = {"words": ["fox", "foxfox"], "length": 5}
    projectors = {key: components.TINY[key] for key in ("input_projectors", "output_projectors")}
    both = {"data": {"chat": 1}, "batch_size": 3, "steps": 3, "log_every": 1}
    return {
        "llm": {"path": tiny_llm_folder, "lora": {"r": 2, "targets": ["q_proj"]}},
        "encoders": {"eye": {"type": "imagebind", **components.TINY["encoders"]["imagebind"][1]}},
        "inputs": {
            "image": {"encoder": "eye", "projector": {"type": "linear", **projectors["input_projectors"]["linear"][0]}}
        },
        "outputs": {
            "image": {
                "tokens": 2,
                "projector": {"type": "transformer", **projectors["output_projectors"]["transformer"][0]},
                "decoder": decoder,
            }
        },
        "data": {"chat": {"type": "jsonl", "path": str(tmp_path / "chat.jsonl")}},
        "stages": {
            "encode": {"train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1, "align": 1}, **both},
            "decode": {
                "train": {"outputs.*.projector": 1e-2, "llm.signal_tokens": 1e-2},
                "losses": {"text": 1, "caption": {"kind": "l2norm"}},
                **both,
            },
        },
    }


def train(raw: dict[str, Any], out: Path, **given: Any) -> Path:
    return run.train(configs.check(raw), out=out, cache=out / "features", device="cpu", **given)


def state(out: Path) -> dict[str, torch.Tensor]:
    return AnyX.from_pretrained(str(out)).own_state()


def test_a_run_leaves_a_model_that_loads(raw: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert train(raw, out) == out
    for name in ("config.yaml", "metrics.csv", "loss.png", "encode/final.safetensors", "decode/final.safetensors"):
        assert (out / name).is_file(), name
    assert list((out / "encode").glob("events*"))
    header, *rows = (out / "metrics.csv").read_text().splitlines()
    assert header == "stage,step,seconds,lr,loss,align,caption,text"
    assert [row.split(",")[:2] for row in rows] == [
        [name, str(step)] for name in ("encode", "decode") for step in (1, 2, 3)
    ]
    again = AnyX.from_pretrained(str(out))
    reply = again.chat([{"role": "user", "content": "Draw a red fox"}], max_new_tokens=3)
    assert reply.parts is not None


def test_stages_one_by_one_equal_all_at_once(raw: dict[str, Any], tmp_path: Path) -> None:
    whole = state(train(raw, tmp_path / "whole"))
    train(raw, tmp_path / "parts", stages=["encode"])
    parts = state(train(raw, tmp_path / "parts", stages=["decode"], resume=True))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    curves = [(tmp_path / name / "metrics.csv").read_text().splitlines()[0] for name in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_a_stage_named_again_does_not_undo_the_later_ones(raw: dict[str, Any], tmp_path: Path) -> None:
    """Both stages train the input projector; they are loaded in the order they were trained, not in the YAML's."""
    raw["stages"]["decode"]["train"]["inputs.*.projector"] = 1e-2
    del raw["stages"]["encode"]["losses"]["align"]
    whole = state(train(raw, tmp_path / "out", stages=["decode", "encode"]))
    for names in (["encode"], ["decode"], None):
        again = state(train(raw, tmp_path / "out", stages=names, resume=True))
        assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_path_may_be_written_otherwise(raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working folder, in full, through a link, or from the model's folder, as a saved model says it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    for path in ("chat.jsonl", str(tmp_path / "chat.jsonl"), str(tmp_path / "link" / "chat.jsonl")):
        raw["data"]["chat"]["path"] = path
        train(raw, tmp_path / "out", stages=["encode"], resume=True)


def test_a_run_goes_on_by_its_own_configuration_only(raw: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(raw, out, stages=["encode"])
    raw["stages"]["decode"]["steps"] = 2  # it has not begun
    raw["stages"]["encode"]["log_every"] = 2  # it changes nothing that is learnt
    train(raw, out, stages=["encode"], resume=True)
    before = (out / "config.yaml").read_text()
    raw["seed"], raw["stages"]["encode"]["steps"] = 7, 50
    with pytest.raises(ValueError, match=r"stages.encode.steps was 3, is 50; seed was None, is 7\); put it back"):
        train(raw, out, resume=True)
    assert (out / "config.yaml").read_text() == before


def test_a_run_whose_projectors_began_with_weights_goes_on(raw: dict[str, Any], tmp_path: Path) -> None:
    """The saved model's configuration does not name them any more; nothing else may differ."""
    config = configs.check(raw)
    (tmp_path / "encode").mkdir()
    (tmp_path / "encode" / checkpoint.FINAL).touch()
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    given = copy.deepcopy(raw)
    given["outputs"]["image"]["projector"]["init"] = "weights.safetensors"
    history.check_same(tmp_path, replace(config, raw=given))
    given["outputs"]["image"]["projector"]["dim"] = 7
    with pytest.raises(ValueError, match=r"configuration \(outputs.image.projector.dim was .*, is 7\); put it back"):
        history.check_same(tmp_path, replace(config, raw=given))


def test_a_device_is_written_as_torch_writes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [run.place_of(device) for device in ("auto", "cpu", "cuda", "cuda:1")] == [
        ("auto", 1),
        ("cpu", 1),
        ("cuda", 1),
        ("cuda", [1]),
    ]
    with pytest.raises(ValueError, match=r"device: 'cuda:2' is not one of auto, cpu, cuda, cuda:0, cuda:1"):
        run.place_of("cuda:2")


def test_features_are_kept_in_the_user_s_folder(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANYX_HOME", "~/anyx")
    monkeypatch.chdir(tmp_path)
    raw["stages"] = {"encode": raw["stages"]["encode"] | {"steps": 1}}
    run.train(configs.check(raw), out=tmp_path / "out", device="cpu")
    assert list((tmp_path / "home" / "anyx" / "features").glob("*.safetensors"))


def test_mistakes_are_said_before_training(raw: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stages: 'encod' is not one of encode, decode"):
        train(raw, tmp_path / "a", stages=["encod"])
    (tmp_path / "b" / "encode").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds a run already: resume it, or name another folder"):
        train(raw, tmp_path / "b")
    (tmp_path / "b" / "other").mkdir()
    (tmp_path / "b" / "other" / "final.safetensors").touch()
    with pytest.raises(ValueError, match=r"holds the stages \['other'\], which this configuration does not have"):
        train(raw, tmp_path / "b", resume=True)
    with pytest.raises(ValueError, match=r"device: 'cuda:999' is not one of auto, cpu"):
        run.train(configs.check(raw), out=tmp_path / "c", device="cuda:999")
    assert not (tmp_path / "c").exists()
    late = {**raw["stages"]["decode"], "data": {"other": {"path": str(tmp_path / "nowhere.jsonl")}}}
    with pytest.raises(ValueError, match=r"other.*nowhere.jsonl"):
        train({**raw, "stages": {**raw["stages"], "decode": late}}, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    raw["stages"]["encode"]["losses"] = {"align": {"knd": "mse"}}
    with pytest.raises(ValueError, match=r"stages.encode.losses.align.knd: .*'align'"):
        train(raw, tmp_path / "c")
