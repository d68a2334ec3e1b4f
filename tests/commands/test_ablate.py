"""`anyx ablate`: a grid is trained and measured in processes of its own, compared, and not trained twice."""

import csv
import json
from pathlib import Path

import components
import pytest
import torch

from anyx.commands import main
from anyx.media import Image
from anyx.yamls import dump

SHAPES = Path(__file__).parents[1] / "evaluation" / "shapes.py"


@pytest.fixture
def experiment(tmp_path: Path, tiny_llm_folder: str) -> Path:
    """Two steps of a tiny model, on four colours."""
    folder = tmp_path / "experiment"
    folder.mkdir()
    lines = []
    for index in range(4):
        Image(torch.full((3, 16, 16), 60 * index, dtype=torch.uint8)).save(folder / f"{index}.png")
        asked = [{"type": "image", "path": f"{index}.png"}, {"type": "text", "text": "What?"}]
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": "red"}]
        lines.append(json.dumps({"messages": turns}))
    (folder / "chat.jsonl").write_text("\n".join(lines))
    raw = {
        "llm": {"path": tiny_llm_folder},
        "encoders": {"eye": {"type": "imagebind", **components.TINY["encoders"]["imagebind"][1]}},
        "inputs": {"image": {"encoder": "eye", "projector": {"type": "linear"}}},
        "data": {"chat": {"type": "jsonl", "path": "./chat.jsonl"}},
        "stages": {
            "encode": {
                "train": {"inputs.*.projector": 1e-2}, "losses": {"text": 1}, "data": {"chat": 1},
                "batch_size": 2, "steps": 2, "log_every": 1,
            }
        },
    }  # fmt: skip
    (folder / "experiment.yaml").write_text(dump(raw))
    (folder / "shapes.py").write_text(SHAPES.read_text())
    judges = {
        key: {"first": {"type": f"shapes.py:{kind}Judge"}} for key, kind in (("image", "Colour"), ("audio", "Tone"))
    }
    judges["text"] = {"label": {"type": "anyx.evaluation.labels:LabelJudge"}}
    (folder / "evaluation.yaml").write_text(dump({"corpus": "shapes.py:Shapes", "judges": judges, "max_new_tokens": 3}))
    return folder


def ended(words: list[str]) -> int:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stop:
        main(words)
    return int(stop.value.code or 0)


def test_a_grid_is_trained_measured_and_compared(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYX_HOME", str(tmp_path / "home"))
    out = tmp_path / "grid"
    words = [str(experiment), "inputs.image.projector.type=linear,mlp", "--cells", "image->text", "--out", str(out)]
    assert ended(["ablate", *words]) == 0
    found = json.loads((out / "ablation.json").read_text())
    assert list(found) == ["type=linear", "type=mlp"]
    assert found["type=linear"]["parameters"] < found["type=mlp"]["parameters"]
    for name, one in found.items():
        assert {split: row["n"] for split, row in one["splits"].items()} == {"seen": 4, "unseen": 4}
        rows = list(csv.DictReader((out / name / "seed0" / "model" / "metrics.csv").open()))
        assert one["seconds"] == float(rows[-1]["seconds"])
    assert (out / "ablation.png").is_file()
    printed = capsys.readouterr().out
    assert (out / "ablation.md").read_text() in printed
    curve = out / "type=mlp" / "seed0" / "model" / "metrics.csv"
    trained = curve.read_text()
    assert ended(["ablate", *words, "--limit", "2"]) == 0
    assert curve.read_text() == trained
    again = json.loads((out / "ablation.json").read_text())
    assert [again[name]["splits"]["seen"]["n"] for name in found] == [2, 2]  # of the four that are there


def test_a_variant_that_fails_is_named(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ANYX_HOME", str(tmp_path / "home"))
    (experiment / "chat.jsonl").unlink()
    assert ended(["ablate", str(experiment), "stages.encode.steps=1,2", "--out", str(tmp_path / "grid")]) == 2
    assert f"{tmp_path / 'grid' / 'steps='}" in capsys.readouterr().err


def test_errors_come_before_the_first_training(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["inputs.image.projector.type=linear,mpl"], "'mpl' is not one of"),
        (["stages.encode.steps=2"], "nothing varies"),
        (["stages.encode.steps=1,2", "--seeds", "0,x"], "--seeds '0,x': whole numbers"),
        (["seed=0,1"], "seed=0,1: every variant is trained by the seeds of --seeds"),
        (["stages.encode.steps=1,2", "--cells", "image->txt"], "cells: 'image->txt' is not one of"),
    ):
        assert ended(["ablate", str(experiment), *words, "--out", str(experiment / "grid")]) == 2
        assert message in capsys.readouterr().err
    assert not (experiment / "grid").exists()
