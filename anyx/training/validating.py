"""While a stage learns: its losses on data held out, the best weights so far, and an end where they get no better.

Every so many steps all of the held-out data go through the model as it would be kept at the end (with the moving
average, where there is one), in eval mode, in the same batches and with the same noise each time, so that two figures
differ by what was learnt alone. Training draws the same numbers with it as without. Each process reads all of it.

What is best so far travels in the checkpoint: a run that goes on ends as one that never stopped.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lightning import Callback, LightningModule, Trainer

from anyx import randomness
from anyx.data.loader import Loader
from anyx.data.mixture import Draw, Planned
from anyx.data.sources import Feed
from anyx.model import AnyX
from anyx.schema import Validate
from anyx.training import losses
from anyx.training.callbacks import of
from anyx.training.prepare import fill
from anyx.training.readers import make_reader
from anyx.training.report import Metrics
from anyx.training.stage import set_modes
from anyx.training.states import SignalStates
from anyx.training.trainee import Trainee

if TYPE_CHECKING:
    from anyx.training.run import Run

log = logging.getLogger("anyx")


class Validator(Callback):
    """Validates a stage; keeps the best weights and ends it where its `validate` says so."""

    def __init__(self, said: Validate, loader: Loader, metrics: Metrics, trainee: Trainee, seconds: float) -> None:
        self.said, self.loader, self.metrics, self.before = said, loader, metrics, seconds
        self.started, self.seen = time.monotonic(), trainee.done
        own = trainee.states is not None and isinstance(trainee.model, AnyX)
        self.states = SignalStates(trainee.model, pack=trainee.stage.pack) if own else None  # type: ignore[arg-type]
        if self.over(trainee):
            trainee.steps = trainee.done  # it was stopped early, and then the process

    @classmethod
    def of(cls, trainee: Trainee, run: Run, device: torch.device, state: Any) -> Validator:
        """The validator of a stage of a run."""
        stage = trainee.stage
        assert stage.validate is not None
        said, feeds = Validate(**stage.validate), run.held[stage.name]
        reader = make_reader(trainee, feeds, run.features, run.settings, device)
        trainee.model.to(device)
        fill(trainee.model, reader, feeds, run.features, 0, stage=stage, device=device)
        batches = in_order(feeds, stage.batch_size)
        metrics = Metrics(run.out / "validation.csv", run.metrics.columns[5:])
        if run.ranks.leads:
            metrics.rewind(stage.name, trainee.done)
        return cls(said, Loader(feeds, reader, batches), metrics, trainee, float(state["seconds"]) if state else 0.0)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Validate between optimiser steps, and at the end."""
        trainee = of(pl_module)
        if trainee.done == self.seen:
            return  # within an accumulation
        self.seen = trainee.done
        if trainee.done % self.said.every and trainee.done != trainee.steps:
            return
        values = self.measure(trainee)
        if self.said.metric not in values:
            told = f"no batch of the held-out data has the loss {self.said.metric!r}, but {', '.join(values) or 'none'}"
            raise ValueError(f"stages.{trainee.stage.name}.validate.metric: {told}")
        value = values[self.said.metric]
        better = not trainee.best or value < trainee.best["value"]
        if better:
            trainee.best = {"step": trainee.done, "value": value, "since": 0, "weights": self.weights(trainee)}
        else:
            trainee.best = trainee.best | {"since": trainee.best["since"] + 1}
        if trainee.ranks.leads:
            seconds = self.before + time.monotonic() - self.started
            self.metrics.add(trainee.stage.name, trainee.done, seconds, {"lr": trainee.rate, **values})
            for logger in trainer.loggers:
                logger.log_metrics({f"validation/{name}": x for name, x in values.items()}, step=trainee.done)
            line = " ".join(f"{name} {x:.4f}" for name, x in values.items())
            best = "the best so far" if better else f"best {trainee.best['value']:.4f} at {trainee.best['step']}"
            log.info("%s %d/%d validation %s (%s)", trainee.stage.name, trainee.done, trainee.steps, line, best)
        if self.over(trainee) and trainee.done < trainee.steps:
            log.info("%s: no better since step %d; it ends early", trainee.stage.name, trainee.best["step"])
            trainee.steps = trainee.done
            trainer.should_stop = True

    def over(self, trainee: Trainee) -> bool:
        """Whether it got no better for too long."""
        return self.said.patience is not None and trainee.best.get("since", 0) >= self.said.patience

    def weights(self, trainee: Trainee) -> dict[str, torch.Tensor] | None:
        """What is kept of the weights as they are, if they are wanted."""
        if not self.said.keep_best:
            return None
        with averaged(trainee):
            return {name: x.detach().cpu().clone() for name, x in trainee.thawed().items()}

    @torch.no_grad()
    def measure(self, trainee: Trainee) -> dict[str, float]:
        """The mean of every loss over the held-out batches that it is about, and their weighted sum as `loss`."""
        state, states = randomness.state(), trainee.states
        sums: dict[str, float] = {}
        counts: dict[str, int] = {}
        randomness.seed_everything(trainee.stage.seed)
        trainee.model.eval()
        trainee.states = self.states  # its own: what a row's states are depends, in the last bits, on its batch
        try:
            with averaged(trainee), trainee.precision():
                for batch, _ in self.loader:
                    found = trainee.find(batch.to(trainee.device)) if batch is not None else {}
                    each = {name: said.joined() for name, said in found.items()}
                    for name, loss in each.items():
                        sums[name] = sums.get(name, 0.0) + float(loss)
                        counts[name] = counts.get(name, 0) + 1
        finally:
            trainee.states = states
            set_modes(trainee.model)
            randomness.restore(state)
        means = {name: value / counts[name] for name, value in sums.items()}
        total = {name: torch.tensor(value) for name, value in means.items()}
        return {"loss": float(losses.weighted(total, trainee.weights)), **means} if means else {}


def in_order(feeds: Sequence[Feed], size: int) -> list[Planned]:
    """Batches of all records of some feeds, each in its first copy."""
    draws = [Draw(source, record, 0) for source, feed in enumerate(feeds) for record in range(len(feed.source))]
    return [Planned(tuple(draws[start : start + size]), {}) for start in range(0, len(draws), size)]


@contextlib.contextmanager
def averaged(trainee: Trainee) -> Iterator[None]:
    """Within the block the weights are the moving average, where there is one."""
    if trainee.average is None:
        yield
        return
    tensors = trainee.thawed()
    before = {name: tensors[name].detach().clone() for name in trainee.average.shadow}
    try:
        with torch.no_grad():
            for name, value in trainee.average.shadow.items():
                tensors[name].copy_(value)
        yield
    finally:
        with torch.no_grad():
            for name, value in before.items():
                tensors[name].copy_(value)
