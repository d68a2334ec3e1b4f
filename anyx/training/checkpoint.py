"""Checkpoints: what a stage thawed, as safetensors, and the state to go on from.

`last.safetensors` holds the weights and names its step; `state-<step>.pt` beside it the optimiser, schedule, random
state, position in the data and moving average. The state is written first and each file atomically, so whatever
moment a run is killed at, the weights always find the state of their own step. `final.safetensors` says that the
stage is done.
"""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from anyx.data.cache import save_atomic
from anyx.training.trainee import Trainee

State = dict[str, Any]
LAST, FINAL = "last.safetensors", "final.safetensors"


def save(folder: Path, trainee: Trainee, seconds: float, random: Sequence[dict[str, Any]] | None = None) -> None:
    """Write the checkpoint of a run in progress; not of one whose losses are no numbers any more.

    `random` is the random state of each of the run's processes, in their order.
    """
    mine, *others = random or [random_state()]
    trainee.check_finite()
    trainer = trainee.trainer
    state = {
        "optimizer": trainer.optimizers[0].state_dict(),
        "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
        "random": mine,
        "others": others,
        "position": trainee.position,
        "average": {"steps": trainee.average.steps, "shadow": trainee.average.shadow} if trainee.average else None,
        "sums": {name: (value, int(trainee.counts[name])) for name, value in trainee.sums.items()},
        "seconds": seconds,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{trainee.done}.pt"
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)
    save_weights(folder / LAST, trainee.thawed(), {"step": str(trainee.done)})
    for old in folder.glob("state-*.pt"):
        if old != path:
            old.unlink()


def step_of(folder: Path) -> int | None:
    """The step of a folder's checkpoint; None where it has none."""
    return int(note(folder / LAST)["step"]) if (folder / LAST).is_file() else None


def place_of(file: Path) -> int:
    """Which in order a stage was done, counted from 1, by its final weights; 0 where they do not say."""
    return int(note(file).get("place", 0))


def note(file: Path) -> dict[str, str]:
    """What a file of weights says of itself."""
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{file} is no whole safetensors file: {error}") from error


def restore_weights(folder: Path, trainee: Trainee) -> State:
    """Load the checkpoint's weights and return its state, for `Resume`."""
    step = step_of(folder)
    assert step is not None
    load_weights(folder / LAST, trainee.thawed())
    state: State = torch.load(folder / f"state-{step}.pt", map_location="cpu", weights_only=True)
    trainee.done, trainee.position = step, state["position"]
    trainee.sums = {name: value for name, (value, _) in state["sums"].items()}
    trainee.counts = {name: count for name, (_, count) in state["sums"].items()}
    if trainee.average and state["average"]:
        trainee.average.steps = state["average"]["steps"]
        trainee.average.shadow = state["average"]["shadow"]
    return state


class Resume(Callback):
    """Puts optimiser, schedule and random state back once they exist; does nothing without a state.

    A process that the state knows nothing of (there are more than there were) goes on with the seed it began with.
    """

    def __init__(self, state: Mapping[str, Any] | None) -> None:
        self.given = state

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last thing before the first step."""
        if self.given is not None:
            assert isinstance(pl_module, Trainee)
            trainer.optimizers[0].load_state_dict(self.given["optimizer"])
            trainer.lr_scheduler_configs[0].scheduler.load_state_dict(self.given["schedule"])
            known = [self.given["random"], *self.given.get("others", ())]
            if pl_module.ranks.rank < len(known):
                set_random_state(known[pl_module.ranks.rank])


def finish(folder: Path, trainee: Trainee) -> None:
    """Put the moving average in place, if there is one; the first process writes the final weights, drops the state.

    The file notes its place in the order in which the stages beside it were done.
    """
    tensors = trainee.thawed()
    if trainee.average:
        with torch.no_grad():
            for name, value in trainee.average.shadow.items():
                tensors[name].copy_(value)
    if not trainee.ranks.leads:
        return
    folder.mkdir(parents=True, exist_ok=True)
    place = 1 + max((place_of(file) for file in folder.parent.glob(f"*/{FINAL}")), default=0)
    save_weights(folder / FINAL, tensors, {"step": str(trainee.done), "place": str(place)})
    for old in (*folder.glob("state-*.pt"), folder / LAST):
        old.unlink(missing_ok=True)


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, contiguous and on the CPU."""
    save_atomic({name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}, path, metadata)


def load_weights(path: Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors from a file that holds exactly them; unknown, missing and misshapen keys are errors."""
    found = read_weights(path)
    unknown, missing = sorted(found.keys() - into.keys()), sorted(into.keys() - found.keys())
    if unknown or missing:
        lines = [
            f"{what} {len(names)} keys ({', '.join(names[:3])}, ...)"
            for what, names in (("has unknown", unknown), ("lacks", missing))
            if names
        ]
        raise ValueError(f"{path} does not fit this stage: it {' and '.join(lines)}; were the stage's globs changed?")
    put_weights(path, found, into)


def load_some(path: Path, into: Mapping[str, Tensor]) -> set[str]:
    """Fill some of a model's tensors from another stage's file or folder, and name them; bad keys are errors."""
    file = path / FINAL if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"init: no weights at {file}")
    found = {name: x for name, x in read_weights(file).items() if not name.startswith("training.")}
    if unknown := sorted(found.keys() - into.keys()):
        raise ValueError(f"init: {file} has unknown keys ({', '.join(unknown[:3])}, ...)")
    put_weights(file, found, into)
    return set(found)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error


@torch.no_grad()
def put_weights(path: Path, found: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    """Copy what was found at `path` over the tensors of the same names, all or none."""
    for name, tensor in found.items():
        if tensor.shape != into[name].shape:
            raise ValueError(f"{path}: {name} is {tuple(tensor.shape)}, the model's is {tuple(into[name].shape)}")
    for name, tensor in found.items():
        into[name].copy_(tensor)


def random_state() -> dict[str, Any]:
    """The state of every generator that a step may draw from."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put them back."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
