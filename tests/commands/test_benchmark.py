"""`anyx benchmark` from the command line: a real model, tables and files, and what is said of mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import released
import torch
from components import TINY

from anyx.build import build
from anyx.commands import main
from anyx.config import check

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tiny_llm_folder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that reads pictures and answers in words, at random."""
    torch.manual_seed(0)
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "clip"} | TINY["encoders"]["clip"][0]},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
    }
    return build(check(raw)).save_pretrained(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        torch.manual_seed(0)  # a folder holds no encoder: it is drawn anew
        with pytest.raises(SystemExit) as ended:
            main(["benchmark", *map(str, words)])
        return ended.value.code, *capsys.readouterr()  # type: ignore[return-value]

    return run


def test_a_model_is_measured_scored_again_and_compared(run: Run, folder: Path, tmp_path: Path) -> None:
    released.mme(tmp_path / "data")
    asking = ("mme", "--data", tmp_path / "data", "--model", folder, "--device", "cpu", "--max-new-tokens", 3)
    code, said, _ = run(*asking, "--out", tmp_path / "a")
    assert code == 0
    assert "mme@official" in said.replace("\n", "")
    assert "total" in said
    first = json.loads((tmp_path / "a/result.json").read_text())
    code, said, _ = run("mme", "--out", tmp_path / "a", "--score-only", "--parser", "mme@lmms")
    assert (code, json.loads((tmp_path / "a/result.json").read_text())["by"]["parser"]) == (0, "mme@lmms")
    run("mme", "--out", tmp_path / "a", "--score-only")
    assert json.loads((tmp_path / "a/result.json").read_text()) == first
    assert run(*asking, "--out", tmp_path / "b", "--limit", 1)[0] == 0
    assert json.loads((tmp_path / "b/result.json").read_text())["samples"] == 2
    both = (tmp_path / "b", tmp_path / "a")
    assert run(*asking, "--out", tmp_path / "b")[0] == 0, "a run may grow"
    code, said, _ = run("mme", "--compare", *both, "--out", tmp_path / "c")
    assert (code, json.loads((tmp_path / "c/comparison.json").read_text())["difference"]) == (0, 0)


def test_a_judged_benchmark_waits_for_its_judge(run: Run, folder: Path, tmp_path: Path) -> None:
    released.mm_vet(tmp_path / "data")
    out = tmp_path / "out"
    settings = ("--model", folder, "--device", "cpu", "--max-new-tokens", 3)
    code, said, _ = run("mm-vet", "--data", tmp_path / "data", "--out", out, *settings)
    assert (code, (out / "result.json").exists()) == (0, False)
    assert "a judge scores them: --score-only" in said.replace("\n", " ")
    code, _, error = run("mm-vet", "--out", out, "--score-only")
    assert (code, "name one by --judge-file" in error) == (2, True)


def test_lamm_asks_about_pictures_and_clouds(run: Run, folder: Path, tiny_llm_folder: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "points"} | TINY["encoders"]["points"][0]},
        "inputs": {"cloud": {"encoder": "eye", "projector": {"type": "linear"}, "media": "series"}},
    }
    seer = build(check(raw)).save_pretrained(tmp_path / "model")
    np.save(tmp_path / "room.npy", np.random.default_rng(0).normal(size=(6, 20)).astype(np.float32))
    released.put(tmp_path / "a.png", "red")
    objects = [{"label": "chair", "bbox": [0, 0, 0, 2, 2, 2]}]
    released.put(tmp_path / "meta/Detection_ScanNet.json", [{"pcl": "room.npy", "objects": objects}])
    released.put(tmp_path / "meta/Classification_CIFAR10.json", [{"image": "a.png", "label": "ship"}])
    for name, model in (("lamm-scannet", seer), ("lamm-cifar10", folder)):
        words = (
            "--data",
            tmp_path,
            "--model",
            model,
            "--device",
            "cpu",
            "--max-new-tokens",
            3,
            "--out",
            tmp_path / name,
        )
        code, _, error = run(name, *words)
        assert (code, error) == (0, "")
        found = json.loads((tmp_path / name / "result.json").read_text())
        assert (found["n"], found["by"]["parser"], found["skipped"]) == (1, "lamm@2023", {})


def test_mistakes_are_one_line(run: Run, folder: Path, tmp_path: Path) -> None:
    for words, wanted in (
        (("mme",), "--data: the folder with the files of mme is missing: MME_Benchmark_release_version"),
        (("mme", "--data", tmp_path / "x", "--model", folder, "--device", "cpu"), "there is no folder"),
        (("mme", "--score-only", "--out", tmp_path), "there is no run in"),
        (("mme", "--judge-model", "m"), "these are of a judge that --judge-url or --judge-file names"),
        (("mme", "--judge-url", "http://x"), "--judge-model: the judge's name on the server is missing"),
        (("mme", "--judge-url", "http://x", "--judge-file", "y"), "one of the two is allowed"),
        (("mme", "--rank", tmp_path, tmp_path), "--rank: a judge ranks"),
        (("mme", "--rank", tmp_path, tmp_path, "--judge-prompt", "x"), "leave out --judge-prompt and --parser"),
        (("mme", "--score-only", "--judge-url", "http://x", "--judge-model", "m"), "mme is scored without a judge"),
    ):
        code, _, error = run(*words)
        assert (code, wanted in error, error.count("\n")) == (2, True, 1), error
    code, _, error = run("mmee")
    assert (code, "vqav2              short answers" in error) == (2, True)
    code, said, _ = run("list")
    assert (code, "POPE" not in said, "coco_pope_random.json" in said) == (0, True, True)
