"""Validation while a stage learns: the best weights are kept, an early end comes, a resumed run ends as a whole one."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from anyx import config as configs
from anyx.config import ConfigError
from anyx.model import AnyX
from anyx.training import run
from anyx.training.callbacks import Keeper

HELD = {"path": "held.jsonl"}


def raw_of(folder: Path, llm: str, **stage: Any) -> dict[str, Any]:
    """A stage that learns ten answers by heart, so that it soon gets worse at two others."""
    for name, words in (("chat", [f"Say {n}" for n in range(10)]), ("held", ["Zxq vk#", "Kqz jw@"])):
        lines = [
            {"messages": [{"role": "user", "content": word}, {"role": "assistant", "content": word[::-1]}]}
            for word in words
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    validate = {"data": {"held": {"type": "jsonl", "path": str(folder / "held.jsonl")}}, "every": 2}
    one = {"train": {"llm.lora": 0.1}, "losses": {"text": 1}, "data": {"chat": 1}, "batch_size": 4, "steps": 16}
    one |= {"schedule": "constant", "warmup": 0, "validate": validate, **stage}
    return {
        "llm": {"path": llm, "lora": {"r": 4, "targets": ["q_proj", "v_proj"], "dropout": 0.2}},
        "data": {"chat": {"type": "jsonl", "path": str(folder / "chat.jsonl")}},
        "stages": {"one": one},
    }


def train(raw: dict[str, Any], out: Path, **given: Any) -> dict[str, torch.Tensor]:
    run.train(configs.check(raw), out=out, cache=out / "features", device="cpu", **given)
    return AnyX.from_pretrained(str(out)).own_state()


def figures(out: Path) -> list[tuple[int, float]]:
    rows = csv.DictReader((out / "validation.csv").read_text().splitlines())
    return [(int(row["step"]), float(row["loss"])) for row in rows]


def with_validate(raw: dict[str, Any], **more: Any) -> dict[str, Any]:
    stage = raw["stages"]["one"]
    return raw | {"stages": {"one": stage | {"validate": stage["validate"] | more}}}


@pytest.mark.parametrize("ema", [None, 0.8])
def test_the_best_weights_are_what_is_left(ema: float | None, tmp_path: Path, tiny_llm_folder: str) -> None:
    raw = raw_of(tmp_path, tiny_llm_folder, ema=ema)
    kept = train(raw, tmp_path / "best")
    seen = figures(tmp_path / "best")
    assert [step for step, _ in seen] == [2, 4, 6, 8, 10, 12, 14, 16]
    best, _ = min(seen, key=lambda one: one[1])
    assert best < 16  # or the test says nothing
    last = train(with_validate(raw, keep_best=False), tmp_path / "last")
    assert figures(tmp_path / "last") == seen
    cut = raw | {"stages": {"one": {**raw["stages"]["one"], "steps": best, "validate": None}}}
    alone = train(cut, tmp_path / "cut")  # the same steps: the schedule is constant, and validation draws nothing
    assert all(torch.equal(tensor, alone[name]) for name, tensor in kept.items())
    assert any(not torch.equal(tensor, last[name]) for name, tensor in kept.items())


def test_it_ends_early(tmp_path: Path, tiny_llm_folder: str) -> None:
    whole = raw_of(tmp_path, tiny_llm_folder)
    train(whole, tmp_path / "whole")
    seen = figures(tmp_path / "whole")
    train(with_validate(whole, patience=2, metric="text"), tmp_path / "early")
    found = figures(tmp_path / "early")
    assert found == seen[: len(found)]
    assert found[-1][0] < 16
    assert min(x for _, x in found) < min(x for _, x in found[-2:])
    assert (tmp_path / "early" / "one" / "final.safetensors").is_file()


class Killed(RuntimeError):
    pass


@pytest.mark.parametrize("after", [5, 8, 10])
def test_a_resumed_run_ends_as_a_whole_one(
    after: int, tmp_path: Path, tiny_llm_folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = with_validate(raw_of(tmp_path, tiny_llm_folder, save_every=2), patience=3)
    whole = train(raw, tmp_path / "whole")
    seen, plain = figures(tmp_path / "whole"), Keeper.on_train_batch_end

    def dies(self: Keeper, trainer: Any, module: Any, *rest: Any) -> None:
        plain(self, trainer, module, *rest)
        if module.done == min(after, seen[-1][0]):
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Keeper, "on_train_batch_end", dies)
        with pytest.raises(Killed):
            train(raw, tmp_path / "out")
    again = train(raw, tmp_path / "out", resume=True)
    assert figures(tmp_path / "out") == seen
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())


def test_what_is_wrong_is_said(tmp_path: Path, tiny_llm_folder: str) -> None:
    raw = with_validate(raw_of(tmp_path, tiny_llm_folder), metric="caption", evry=3, data={"other": 1})
    with pytest.raises(ConfigError) as caught:
        configs.check(raw)
    assert caught.value.errors == [
        "stages.one.validate.evry: Key 'evry' not in 'validate'. Did you mean: 'every'?",
        "stages.one.validate.data.other: 'other' is not one of chat",
        "stages.one.validate.metric: 'caption' is not one of loss, text",
    ]
