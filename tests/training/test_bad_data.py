"""A run that meets bad data: skips and writes them down, stops at the first, or where they are too many."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from anyx import config as configs
from anyx.media import Image
from anyx.training import checkpoint, run


@pytest.fixture
def raw(tmp_path: Path, tiny_llm_folder: str) -> dict[str, Any]:
    """A stage of words alone; half of its records are pictures that are not there."""
    lines = []
    for index in range(40):
        ask: Any = [{"type": "image", "path": f"{index}.png"}] if index % 2 else "What?"
        turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": "A fox."}]
        lines.append(json.dumps({"id": f"r{index}", "messages": turns}))
    (tmp_path / "chat.jsonl").write_text("\n".join(lines))
    Image(torch.zeros(3, 16, 16, dtype=torch.uint8)).save(tmp_path / "0.png")
    stage = {"train": {"llm.lora": 1e-3}, "losses": {"text": 1}, "data": {"chat": 1}, "batch_size": 4, "steps": 30}
    return {
        "llm": {"path": tiny_llm_folder, "lora": {"r": 2, "targets": ["q_proj"]}},
        "data": {"chat": {"type": "jsonl", "path": str(tmp_path / "chat.jsonl")}},
        "stages": {"talk": {**stage, "log_every": 1, "bucket": False}},
    }


def train(raw: dict[str, Any], out: Path, **given: Any) -> Path:
    return run.train(configs.check(raw), out=out, cache=out / "features", device="cpu", **given)


def test_what_is_skipped_is_written_beside_the_weights(raw: dict[str, Any], tmp_path: Path, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="anyx"):
        train(raw, tmp_path / "out")
    said = [json.loads(line) for line in (tmp_path / "out/talk/skipped.jsonl").read_text().splitlines()]
    assert {line["record"] for line in said} == {f"r{index}" for index in range(1, 40, 2)}
    assert "(20 records)" in caplog.text


def test_strictness_ends_a_run_at_once(raw: dict[str, Any], tmp_path: Path) -> None:
    told = r"data.chat: r\d+ is unfit: .*\(strict\)"
    with pytest.raises(ValueError, match=told):
        train(raw, tmp_path / "flag", strict=True)
    raw["stages"]["talk"]["strict"] = True
    with pytest.raises(ValueError, match=told):
        train(raw, tmp_path / "key")


def test_a_budget_ends_a_run_and_keeps_what_was_learnt(raw: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "out"
    raw["stages"]["talk"]["bad"] = 0.2
    with pytest.raises(ValueError, match=r"more than the share stages.talk.bad=0.2: data.chat: \d+ of \d+ samples"):
        train(raw, out)
    done = checkpoint.steps(out / "talk")[0]
    assert 10 <= done < 30
    raw["stages"]["talk"]["bad"] = 1.0  # it changes nothing that is learnt, so the run goes on
    train(raw, out, resume=True)
    rows = (out / "metrics.csv").read_text().splitlines()[1:]
    assert [int(row.split(",")[1]) for row in rows] == list(range(1, 31))


@pytest.mark.parametrize(("key", "value", "told"), [("bad", -1, "talk.bad: must be .*>= 0"), ("strict", 3, "strict")])
def test_what_the_keys_take(raw: dict[str, Any], key: str, value: Any, told: str) -> None:
    raw["stages"]["talk"][key] = value
    with pytest.raises(ValueError, match=told):
        configs.check(raw)
