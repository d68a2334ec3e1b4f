"""Forms of earlier versions read as today's; the YAML below is emoji world's of commit 26b35dc's parent, cut short."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from test_build import configure, raw_model
from test_validating import raw_of, train

from anyx import AnyX, migrations, yamls
from anyx import config as configs
from anyx.build import build
from anyx.commands import main
from anyx.config import ConfigError

OLD = """# Emoji world: what it hears and says.
llm: {path: HuggingFaceTB/SmolLM2-135M-Instruct, template: chatml}
encoders:
  vision: {type: efficientnet, path: efficientnet-lite0, size: 128}  # frozen
inputs:
  # seen
  image: {encoder: vision, projector: {type: mlp, hidden: 256, tokens: 3, norm: data, dropout: 0.3}, blend: 0.4}
  video: {encoder: vision, projector: {share: inputs.image.projector}, blend: 0.4, into: sequence}
  frame:
    encoder: vision
    blend: 0.5  # with noise
    media: image
    projector: {type: linear}
evaluation:
  limit: 100
seed: 0
"""


def run(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(["migrate", *words])
    return ended.value.code


def test_an_old_yaml_reads_and_is_rewritten(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(OLD)
    with caplog.at_level("INFO", logger="anyx"):
        config = configs.load(file)
    gone = "inputs.image.blend, inputs.video.blend, inputs.video.into, inputs.frame.blend, evaluation left out"
    assert f"is of version 0: {gone}" in caplog.text
    assert config.inputs["video"].adapters == ()
    assert run(str(file), "--check") == 1
    assert file.read_text() == OLD
    assert run(str(file)) == 0
    new = file.read_text()
    assert yaml.safe_load(new)["version"] == 1
    for kept in (
        "# Emoji world: what it hears and says.\nversion: 1\n",
        "  # frozen\n",
        "  # seen\n",
        "dropout: 0.3}}\n",
    ):
        assert kept in new
    assert "blend" not in new
    assert "evaluation" not in new
    assert configs.load(file).raw == config.raw
    assert run(str(file)) == 0
    assert file.read_text() == new
    assert run(str(file), "--check") == 0


def test_a_base_of_an_older_version_is_merged_under(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text(OLD)
    (tmp_path / "new.yaml").write_text("version: 1\nbase: ./old.yaml\nseed: 3\n")
    config = configs.load(tmp_path / "new.yaml")
    assert config.seed == 3
    assert "blend" not in str(config.raw)


def test_a_key_that_is_wrong_today_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(OLD.replace("llm:", "version: 1\nllm:"))
    with pytest.raises(ConfigError, match=r"inputs.image.blend: Key 'blend' not in"):
        configs.load(tmp_path / "new.yaml")


@pytest.mark.parametrize("said", ["2", "-1", "one", "true", "1.5"])
def test_versions_that_are_not_known_are_refused(said: str, tmp_path: Path) -> None:
    file = tmp_path / "new.yaml"
    file.write_text(f"version: {said}\nseed: 0\n")
    told = "version 2 is newer than this anyx knows \\(up to 1\\): update anyx" if said == "2" else "is no whole number"
    with pytest.raises(ConfigError, match=told):
        configs.load(file)
    assert run(str(file)) == 2


def test_what_is_more_than_left_out_is_written_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(old: migrations.Form) -> migrations.Form:
        return {"start" if key == "seed" else key: value for key, value in old.items()}

    monkeypatch.setattr(migrations, "CONFIGS", (migrations.config_1, renamed))
    assert migrations.upgrade({"version": 1, "seed": 4}, migrations.CONFIGS) == {"start": 4}
    assert migrations.upgrade({"seed": 4, "evaluation": {}, "llm": {}}, migrations.CONFIGS) == {"start": 4, "llm": {}}


def test_a_model_folder_says_its_version_and_an_old_one_loads(tmp_path: Path, tiny_llm_folder: str) -> None:
    model = build(configure(tmp_path / "model.yaml", raw_model(tiny_llm_folder)))
    folder = model.save_pretrained(tmp_path / "saved")
    raw = yaml.safe_load((folder / "config.yaml").read_text())
    assert next(iter(raw.items())) == ("version", 1)
    old = {key: value for key, value in raw.items() if key != "version"}
    old["inputs"] = {**old["inputs"], "image": {**old["inputs"]["image"], "blend": 0.4, "into": "sequence"}}
    (folder / "config.yaml").write_text(yamls.dump(old))
    again = AnyX.from_pretrained(folder)
    assert all(torch.equal(tensor, again.own_state()[name]) for name, tensor in model.own_state().items())
    assert run(str(folder)) == 0
    assert yaml.safe_load((folder / "config.yaml").read_text()) == raw


ROOT = Path(__file__).resolve().parents[1]
WORDS = ("experiments/emoji/plain.yaml", "experiments/emoji/templates.yaml", "experiments/anyworld/plain.yaml")
OTHERS = ("experiments/lmms_eval/tasks/", *WORDS)  # another tool's, and what a corpus says
SHIPPED = [
    str(file.relative_to(ROOT))
    for top in ("configs", "docs", "experiments")
    for file in sorted((ROOT / top).rglob("*.yaml"))
    if not str(file.relative_to(ROOT)).startswith(OTHERS)
]


@pytest.mark.parametrize("file", SHIPPED)
def test_what_is_shipped_is_of_today_s_form(file: str) -> None:
    held = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    assert held["version"] == migrations.CURRENT
    assert {"version": migrations.CURRENT, **migrations.upgrade(held)} == held


def test_shipped_models_and_experiments_have_nothing_to_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    worlds = [f"experiments/{name}/{one}" for name in ("anyworld", "emoji") for one in ("model", "experiment.yaml")]
    assert run(*worlds, "--check") == 0


def test_a_version_is_no_part_of_what_features_are_cached_by(tmp_path: Path) -> None:
    """Nor of what a run goes on by: a configuration is the same mapping with and without it."""
    said = configs.load(ROOT / "experiments/anyworld/experiment.yaml")
    (tmp_path / "old.yaml").write_text(yamls.dump(said.raw))
    assert "version" not in yaml.safe_load((tmp_path / "old.yaml").read_text())
    assert configs.load(tmp_path / "old.yaml").raw == said.raw


def test_an_old_checkpoint_goes_on(tmp_path: Path, tiny_llm_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One from before the skipped were counted and stages validated: it has no `read`, no `best` and no version."""
    from anyx.training import checkpoint
    from anyx.training import run as running

    raw = raw_of(tmp_path, tiny_llm_folder, steps=4, save_every=2, validate=None)
    whole = train(raw, tmp_path / "whole")
    plain = running.checkpoint.finish
    monkeypatch.setattr(checkpoint, "finish", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(raw, tmp_path / "out")
    monkeypatch.setattr(checkpoint, "finish", plain)
    stage = tmp_path / "out" / "one"
    for step in checkpoint.steps(stage):
        state, weights = checkpoint.read(stage, step)
        old = {name: value for name, value in state.items() if name not in ("version", "read", "best")}
        checkpoint.put_files(stage, step, old, weights)
    shutil.copytree(tmp_path / "out", tmp_path / "moved")
    assert run(str(tmp_path / "moved"), "--check") == 1
    assert run(str(tmp_path / "moved")) == 0
    assert run(str(tmp_path / "moved"), "--check") == 0
    for out in ("out", "moved"):
        again = train(raw, tmp_path / out, resume=True)
        assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
