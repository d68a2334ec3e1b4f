"""Checkpoints: what a stage thawed, as safetensors, and the state to go on from.

`weights-<step>.safetensors` holds what was trained, `state-<step>.pt` beside it the optimiser, schedule, random states,
position in the data and moving average, `rows-<step>-of-rank-<rank>.safetensors` the states of the LLM that were
computed since the checkpoint before. Each is written durably, the weights last, so whatever moment a run is killed at,
weights always find the state of their own step; each knows a checksum of the other. The last two checkpoints are kept:
where the newer is damaged, a run goes on from the older. `final.safetensors` says that the stage is done.
"""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from lightning import Callback, LightningModule, Trainer
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from anyx import durable, migrations, randomness
from anyx.data.skipped import READ
from anyx.migrations import KEY
from anyx.migrations import STATE as VERSION
from anyx.training.trainee import Trainee

State = dict[str, Any]
FINAL = "final.safetensors"
WEIGHTS, STATE = "weights-{}.safetensors", "state-{}.pt"
ROWS = "rows-{}-of-rank-{}.safetensors"
KEPT = 2  # checkpoints
log = logging.getLogger("anyx")


def save(folder: Path, trainee: Trainee, seconds: float) -> None:
    """Write the checkpoint of a run in progress, by all its processes at once.

    None is written where losses are no numbers any more (`ValueError`), or where there is no room (`OSError`); the
    checkpoints before stay then.
    """
    trainee.check_finite()
    trainer, step = trainee.trainer, trainee.done
    folder.mkdir(parents=True, exist_ok=True)
    if trainee.states:
        trainee.states.save(folder / ROWS.format(step, trainer.global_rank))
    random = dict(enumerate(trainee.ranks.every(randomness.state())))
    read = dict(enumerate(trainee.ranks.every(trainee.position.get(READ))))
    if not trainer.is_global_zero:
        return
    weights = portable(trainee.thawed())
    state = {
        "optimizer": trainer.optimizers[0].state_dict(),
        "schedule": trainer.lr_scheduler_configs[0].scheduler.state_dict(),
        "random": random,
        "position": trainee.position,
        "read": read,
        "average": {"steps": trainee.average.steps, "shadow": trainee.average.shadow} if trainee.average else None,
        "best": trainee.best,
        "sums": {name: (value, int(trainee.counts[name])) for name, value in trainee.sums.items()},
        "seconds": seconds,
        "checksum": checksum(weights),
        KEY: VERSION,
    }
    put_files(folder, step, state, weights)
    for old in steps(folder, STATE)[KEPT:]:
        for kind in (WEIGHTS, STATE):
            (folder / kind.format(old)).unlink(missing_ok=True)


def put_files(folder: Path, step: int, state: State, weights: Mapping[str, Tensor]) -> None:
    """Write the two files of a step, the weights last."""
    with durable.replacing(folder / STATE.format(step)) as part, open(part, "wb") as file:
        summed = Summed(file)
        torch.save(state, cast(IO[bytes], summed))
    durable.save_tensors(weights, folder / WEIGHTS.format(step), {"step": str(step), "state": str(summed.sum)})


def steps(folder: Path, kind: str = WEIGHTS) -> list[int]:
    """The steps of a folder's files of a kind, the newest first."""
    form = re.compile(kind.replace(".", "[.]").replace("{}", "([0-9]+)"))
    found = (form.fullmatch(file.name) for file in folder.glob(kind.replace("{}", "*")))
    return sorted({int(match[1]) for match in found if match}, reverse=True)


def place_of(file: Path) -> int:
    """Which in order a stage was done, counted from 1, by its final weights; 0 where they do not say."""
    return int(notes(file).get("place", 0))


def notes(file: Path) -> dict[str, str]:
    """What a file of weights says of itself."""
    try:
        with safe_open(file, framework="pt") as opened:
            return dict(opened.metadata() or {})
    except SafetensorError as error:
        raise ValueError(f"{file} is no whole safetensors file: {error}") from error


def restore(folder: Path, trainee: Trainee) -> State | None:
    """Load the newest checkpoint that is whole and return its state, for `Resume`; None where there is none.

    What a killed run left beside it is removed. `ValueError` where there are checkpoints and none is whole.
    """
    if (folder / "last.safetensors").is_file():
        raise ValueError(f"{folder} holds a checkpoint of an earlier form, which cannot go on: remove the folder")
    damaged: list[str] = []
    found: tuple[State, dict[str, Tensor]] | None = None
    step = 0
    for step in steps(folder):
        try:
            found = read(folder, step)
            break
        except ValueError as error:
            damaged.append(str(error))
    if damaged and found is None:
        raise ValueError(f"{'; '.join(damaged)}; remove {folder} to begin the stage anew")
    for line in damaged:
        log.warning("%s; going on from step %d", line, step)
    for kind in (WEIGHTS, STATE, ROWS):
        for later in (later for later in steps(folder, kind) if later > step):
            for file in folder.glob(kind.format(later, "*")):
                file.unlink(missing_ok=True)
    durable.drop_parts(folder)
    if found is None:
        return None
    state, weights = found
    put_weights(folder / WEIGHTS.format(step), weights, trainee.thawed())
    trainee.done, trainee.position = step, state["position"]
    if trainee.position:  # a run that was stopped before its first step has none
        trainee.position = trainee.position | {READ: state["read"].get(trainee.ranks.rank)}
    trainee.sums = {name: value for name, (value, _) in state["sums"].items()}
    trainee.counts = {name: count for name, (_, count) in state["sums"].items()}
    trainee.best = state["best"]
    if trainee.average and state["average"]:
        trainee.average.steps = state["average"]["steps"]
        trainee.average.shadow = state["average"]["shadow"]
    return state


def read(folder: Path, step: int) -> tuple[State, dict[str, Tensor]]:
    """The state and weights of a step's checkpoint; `ValueError` where they are not as they were written."""
    try:
        with open(folder / STATE.format(step), "rb") as file:
            total = 0
            while data := file.read(1 << 24):
                total = zlib.crc32(data, total)
        if notes(folder / WEIGHTS.format(step)).get("state") != str(total):
            raise ValueError("the state is not the one written")
        weights = read_weights(folder / WEIGHTS.format(step))
        held: State = torch.load(folder / STATE.format(step), map_location="cpu", weights_only=True)
        state = migrations.upgrade(held, migrations.STATES, name=STATE.format(step)) | {KEY: VERSION}
        if state["checksum"] != checksum(weights):
            raise ValueError("the weights are not those written")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: the checkpoint of step {step} is damaged ({error})") from error
    return state, weights


class Summed:
    """A file to write to that knows a checksum of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sum = file, 0

    def write(self, data: bytes) -> int:
        """Write, and count it in."""
        self.sum = zlib.crc32(data, self.sum)
        return self.file.write(data)

    def flush(self) -> None:
        """Hand on what is buffered."""
        self.file.flush()


class Resume(Callback):
    """Puts optimiser, schedule, states of rows and random state back once they exist; does nothing without a state."""

    def __init__(self, folder: Path, state: Mapping[str, Any] | None) -> None:
        self.folder, self.given = folder, state

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last thing before the first step."""
        if self.given is None:
            return
        assert isinstance(pl_module, Trainee)
        trainer.optimizers[0].load_state_dict(self.given["optimizer"])
        trainer.lr_scheduler_configs[0].scheduler.load_state_dict(self.given["schedule"])
        if pl_module.states:
            files = [
                self.folder / ROWS.format(step, trainer.global_rank) for step in reversed(steps(self.folder, ROWS))
            ]
            try:
                for file in filter(Path.is_file, files):
                    pl_module.states.load(file, pl_module.device)
            except SafetensorError as error:
                log.warning("%s is damaged (%s): its rows are computed again, equal but for rounding", file, error)
        randomness.put_back(self.given["random"], trainer.global_rank)


def finish(folder: Path, trainee: Trainee) -> None:
    """Put the moving average, or the best weights, in place; the first process writes the final weights, drops others.

    The file notes its place in the order in which the stages beside it were done.
    """
    tensors = trainee.thawed()
    if trainee.average:
        with torch.no_grad():
            for name, value in trainee.average.shadow.items():
                tensors[name].copy_(value)
    if best := trainee.best.get("weights"):
        put_weights(folder, best, tensors)
    if not trainee.ranks.leads:
        return
    folder.mkdir(parents=True, exist_ok=True)
    place = 1 + max((place_of(file) for file in folder.parent.glob(f"*/{FINAL}")), default=0)
    save_weights(folder / FINAL, tensors, {"step": str(trainee.done), "place": str(place)})
    drop(folder)


def drop(folder: Path) -> None:
    """Remove the checkpoints of a stage that is done."""
    for kind in (WEIGHTS, STATE, ROWS):
        for old in folder.glob(kind.replace("{}", "*")):
            old.unlink(missing_ok=True)
    durable.drop_parts(folder)


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, whatever they share and wherever they are."""
    durable.save_tensors(portable(tensors), path, metadata)


def portable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, contiguous."""
    return {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}


def checksum(tensors: Mapping[str, Tensor]) -> int:
    """A number that changes when any byte of the tensors does."""
    total = 0
    for name in sorted(tensors):
        data = tensors[name].reshape(-1).view(torch.uint8).numpy().data
        total = zlib.crc32(data, zlib.crc32(name.encode(), total))
    return total


def load_weights(path: Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors from a file that holds exactly them; unknown, missing and misshapen keys are errors."""
    put_weights(path, read_weights(path), into)


def names_in(path: Path) -> list[str]:
    """The names of the weights in a stage's file or folder; none where there is no such file."""
    file = path / FINAL if path.is_dir() else path
    return list(read_weights(file)) if file.is_file() else []


def load_some(path: Path, into: Mapping[str, Tensor]) -> set[str]:
    """Fill some of a model's tensors from another stage's file or folder, and name them; bad keys are errors."""
    file = path / FINAL if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"init: no weights at {file}")
    found = {name: x for name, x in read_weights(file).items() if not name.startswith("training.")}
    if unknown := sorted(found.keys() - into.keys()):
        raise ValueError(f"init: {file} has unknown keys ({', '.join(unknown[:3])}, ...)")
    put_weights(file, found, {name: into[name] for name in found})
    return set(found)


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file."""
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from error


@torch.no_grad()
def put_weights(path: Path, found: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    """Copy what was found at `path` over exactly the tensors of the same names, all or none."""
    unknown, missing = sorted(found.keys() - into.keys()), sorted(into.keys() - found.keys())
    if unknown or missing:
        lines = [
            f"{what} {len(names)} keys ({', '.join(names[:3])}, ...)"
            for what, names in (("has unknown", unknown), ("lacks", missing))
            if names
        ]
        raise ValueError(f"{path} does not fit this stage: it {' and '.join(lines)}; were the stage's globs changed?")
    for name, tensor in found.items():
        if tensor.shape != into[name].shape:
            raise ValueError(f"{path}: {name} is {tuple(tensor.shape)}, the model's is {tuple(into[name].shape)}")
    for name, tensor in found.items():
        into[name].copy_(tensor)
