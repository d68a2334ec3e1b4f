"""TensorBoard alone unless a YAML says otherwise; W&B's files, offline, hold the losses of every stage."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from test_validating import raw_of, train

from anyx import config as configs
from anyx.config import ConfigError


def test_wandb_stays_out_unless_it_is_named(tmp_path: Path, tiny_llm_folder: str) -> None:
    raw = raw_of(tmp_path, tiny_llm_folder, steps=2, log_every=1)
    train(raw, tmp_path / "out")
    assert "wandb" not in sys.modules or not list((tmp_path / "out").rglob("*.wandb"))
    assert list((tmp_path / "out" / "one").glob("events*"))


def test_wandb_offline_holds_every_stage(tmp_path: Path, tiny_llm_folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODE": "offline", "SILENT": "true", "DIR": str(tmp_path / "w")}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    raw: dict[str, Any] = raw_of(tmp_path, tiny_llm_folder, steps=2, log_every=1)
    raw["logger"] = ["tensorboard", "wandb"]
    raw["stages"]["two"] = dict(raw["stages"]["one"])
    train(raw, tmp_path / "out")
    for stage in ("one", "two"):
        assert list((tmp_path / "out" / stage).glob("events*"))
        (file,) = (tmp_path / "out" / stage).rglob("*.wandb")
        held = file.read_bytes()
        assert all(name in held for name in (b"lr", b"loss", b"text", b"validation/loss"))


def test_an_unknown_logger_is_refused(tmp_path: Path, tiny_llm_folder: str) -> None:
    raw = raw_of(tmp_path, tiny_llm_folder) | {"logger": ["mlflow"]}
    with pytest.raises(ConfigError, match="logger"):
        configs.check(raw)
