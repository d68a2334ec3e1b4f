"""Checkpoints: the last good one is found whatever happened to the newest, and the run ends with the same bits."""

import csv
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from lightning import Callback
from safetensors.torch import load_file

from anyx import randomness
from anyx.data.cache import FeatureCache
from anyx.data.sources import Feed, Record
from anyx.media import Image
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import checkpoint, run
from anyx.training.report import Metrics
from anyx.training.stopping import Stop, Stopped


def record(index: int) -> Record:
    picture = Image(torch.full((3, 4, 4), 20 * index, dtype=torch.uint8))
    ask = {"role": "user", "content": [{"type": "image", "media": picture}, {"type": "text", "text": "What?"}]}
    return {"messages": [ask, {"role": "assistant", "content": "A fox." * (1 + index % 3)}]}


FEEDS = [Feed("dialogues", [record(index) for index in range(9)])]
TRAIN = {"llm.lora": 1e-2, "inputs.*.projector": 1e-2}
STAGE = Stage(
    "s", TRAIN, {"text": 1}, {"d": 1}, steps=8, batch_size=3, accumulate=2, save_every=2, log_every=1, ema=0.9
)


class Kill(Callback):
    """Ends the run before the batch of a number, counted from where the run began."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.batch:
            raise RuntimeError("killed")


def fit(
    out: Path,
    *callbacks: Callback,
    stage: Stage = STAGE,
    feeds: Sequence[Feed] = FEEDS,
    r: int = 2,
    stop: Stop | None = None,
) -> AnyX:
    torch.manual_seed(0)
    model = tiny.anyx(lora={"r": r, "alpha": 4, "dropout": 0.3, "targets": ["q_proj", "v_proj"]}).eval()
    metrics = Metrics(out / "metrics.csv", list(stage.losses))
    features = FeatureCache(out / "features")
    run.fit(model, stage, feeds, [1.0], run.Run(out, metrics, features, callbacks=callbacks, stop=stop or Stop()))
    return model


def killed(out: Path, batch: int) -> Path:
    with pytest.raises(RuntimeError, match="killed"):
        fit(out, Kill(batch))
    return out / "s"


def left(out: Path) -> dict[str, Any]:
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    logged = [{name: value for name, value in row.items() if name != "seconds"} for row in rows]
    weights = load_file(out / "s" / checkpoint.FINAL)
    return {"logged": logged, **{name: tensor.tolist() for name, tensor in weights.items()}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("whole")
    fit(out)
    assert [file.name for file in (out / "s").glob("*[.-]s*t*")] == [checkpoint.FINAL]
    return left(out)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) * 3 // 4] ^= 16
    file.write_bytes(data)


@pytest.mark.parametrize("kind", [checkpoint.WEIGHTS, checkpoint.STATE])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink, lambda file: file.write_bytes(b"")])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path,
    whole: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    kind: str,
    damage: Callable[[Path], object],
) -> None:
    folder = killed(tmp_path, 13)
    assert checkpoint.steps(folder) == checkpoint.steps(folder, checkpoint.STATE) == [6, 4]
    damage(folder / kind.format(6))
    caplog.set_level("WARNING", "anyx")
    fit(tmp_path)
    gone = kind == checkpoint.WEIGHTS and damage == Path.unlink  # as if it had not been written yet
    assert ("the checkpoint of step 6 is damaged" in caplog.text) != gone
    assert ("going on from step 4" in caplog.text) != gone
    assert left(tmp_path) == whole


def test_without_any_whole_checkpoint_nothing_begins_anew_by_itself(tmp_path: Path) -> None:
    folder = killed(tmp_path, 13)
    for step in (4, 6):
        cut(folder / checkpoint.WEIGHTS.format(step))
    with pytest.raises(
        ValueError, match=r"of step 6 is damaged .*of step 4 is damaged .*; remove .* to begin the stage"
    ):
        fit(tmp_path)
    (folder / "last.safetensors").touch()
    with pytest.raises(ValueError, match=r"s holds a checkpoint of an earlier form, which cannot go on"):
        fit(tmp_path)


def test_killed_within_an_accumulation_after_going_on(tmp_path: Path, whole: dict[str, Any]) -> None:
    """The first batch after a resumption is half a step: nothing may be saved or logged there."""
    killed(tmp_path, 9)
    assert checkpoint.steps(tmp_path / "s") == [4, 2]
    killed(tmp_path, 1)
    assert checkpoint.steps(tmp_path / "s") == [4, 2]
    fit(tmp_path)
    assert left(tmp_path) == whole


def drawing(words: int) -> Record:
    part = {"type": "image", "media": Image(torch.full((3, 4, 4), words, dtype=torch.uint8)), "caption": "a fox"}
    ask = {"role": "user", "content": "Draw " * words}
    return {"messages": [ask, {"role": "assistant", "content": [part]}]}


def test_states_of_rows_are_those_that_the_checkpoint_knew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In passes of rows of several lengths, where it matters in the last bits with which others a row is computed."""
    feeds = [Feed("drawings", [drawing(1 + 9 * index) for index in range(8)])]
    train = {"outputs.image.projector": 1e-2}
    stage = replace(STAGE, train=train, losses={"denoise": 1}, accumulate=1, bucket=False, precision="fp32")
    fit(tmp_path / "whole", stage=stage, feeds=feeds)
    for batch in (2, 3, 1):
        with pytest.raises(RuntimeError, match="killed"):
            fit(tmp_path / "cut", Kill(batch), stage=stage, feeds=feeds)
    rows = checkpoint.ROWS.format(2, 0)
    assert (tmp_path / "cut" / "s" / rows).is_file()
    shutil.copytree(tmp_path / "cut", tmp_path / "damaged")
    fit(tmp_path / "cut", stage=stage, feeds=feeds)
    assert left(tmp_path / "cut") == left(tmp_path / "whole")
    assert not list((tmp_path / "cut" / "s").glob("rows-*"))
    cut(tmp_path / "damaged" / "s" / rows)
    caplog.set_level("WARNING", "anyx")
    fit(tmp_path / "damaged", stage=stage, feeds=feeds)
    assert "its rows are computed again, equal but for rounding" in caplog.text


class Late(Callback):
    """Ends a run's time within the first half of a step."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 6:
            self.stop.end = time.monotonic()


def test_a_run_that_is_out_of_time_ends_the_step_and_saves(tmp_path: Path, whole: dict[str, Any]) -> None:
    stop = Stop("1h")
    with pytest.raises(Stopped, match=r"stopped in stage s after step 4 of 8 \(1h are over\); the same command with"):
        fit(tmp_path, Late(stop), stage=replace(STAGE, save_every=None), stop=stop)
    assert checkpoint.steps(tmp_path / "s") == [4]
    fit(tmp_path)
    assert left(tmp_path) == whole


class Fill(Callback):
    """Leaves no room on the disk from a step on."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.done == 4:
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))


def test_a_full_disk_ends_the_run_and_leaves_the_checkpoints(tmp_path: Path, whole: dict[str, Any]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OSError, match=r"state-6.pt cannot be written, what was there before is untouched: .*large"):
            fit(tmp_path, Fill())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoint.steps(tmp_path / "s") == [4, 2]
    fit(tmp_path)
    assert left(tmp_path) == whole


def test_a_checkpoint_is_as_large_as_what_learns(tmp_path: Path) -> None:
    """Weights at most 1.05 times the trained bytes, where matrices have thousands of numbers; state of no others."""
    with pytest.raises(RuntimeError, match="killed"):
        fit(tmp_path, Kill(5), stage=replace(STAGE, train={"llm.lora": 1e-2}), r=64)
    weights = tmp_path / "s" / checkpoint.WEIGHTS.format(2)
    trained = sum(tensor.nbytes for tensor in load_file(weights).values())
    assert trained == 4 * 64 * (4 * 32 + 2 * 32 + 2 * 16)  # r (in + out) of two projections in two layers
    assert weights.stat().st_size <= 1.05 * trained
    state = torch.load(tmp_path / "s" / checkpoint.STATE.format(2), weights_only=True)
    moments = [x for one in state["optimizer"]["state"].values() for name, x in one.items() if name != "step"]
    assert sum(x.nbytes for x in moments) == 2 * trained
    assert sum(x.nbytes for x in state["average"]["shadow"].values()) == trained
    assert set(state["random"]) == {0}


def test_each_process_has_its_random_state(caplog: pytest.LogCaptureFixture) -> None:
    randomness.seed_everything(3)
    kept = randomness.state()
    first = torch.rand(3)
    randomness.put_back({1: kept, 0: randomness.state()}, rank=1)
    assert torch.equal(torch.rand(3), first)
    caplog.set_level("WARNING", "anyx")
    randomness.put_back({0: kept}, rank=1)
    assert "the checkpoint is of 1 processes: rank 1 draws by its seed" in caplog.text
    with randomness.seeded(5):
        inside = torch.rand(2)
    after = torch.rand(2)
    randomness.restore(kept)
    torch.rand(3)
    assert torch.equal(torch.rand(2), after)
    with randomness.seeded(5):
        assert torch.equal(torch.rand(2), inside)
