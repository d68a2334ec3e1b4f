"""Around the steps: the journal (progress bar, CSV, TensorBoard) and the keeper (checkpoints, time limit)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from anyx.training import checkpoint
from anyx.training.report import Metrics, console
from anyx.training.trainee import Trainee

log = logging.getLogger("anyx")


class Journal(Callback):
    """Logs the mean losses of every `log_every` steps to the CSV, TensorBoard, the progress bar or the log."""

    def __init__(self, metrics: Metrics, seconds: float) -> None:
        self.metrics, self.before, self.started, self.seen = metrics, seconds, 0.0, -1
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=console(),
            disable=not console().is_terminal,
            refresh_per_second=2,
        )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        trainee = of(pl_module)
        self.started = time.monotonic()
        self.bar.start()
        self.task = self.bar.add_task(trainee.stage.name, total=trainee.steps, completed=trainee.done, losses="")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log at whole steps only."""
        trainee = of(pl_module)
        if trainee.done in (self.seen, 0):
            return  # within an accumulation
        self.seen = trainee.done
        self.bar.update(self.task, completed=trainee.done)
        if trainee.done % trainee.stage.log_every and trainee.done != trainee.steps:
            return
        values = trainee.means()
        if not trainee.ranks.leads:
            return
        seconds = self.before + time.monotonic() - self.started
        self.metrics.add(trainee.stage.name, trainee.done, seconds, {"lr": trainee.rate, **values})
        for logger in trainer.loggers:
            logger.log_metrics({"lr": trainee.rate, **values}, step=trainee.done)
        line = " ".join(f"{name} {value:.4f}" for name, value in values.items())
        self.bar.update(self.task, losses=line)
        if not console().is_terminal:
            log.info("%s %d/%d %s", trainee.stage.name, trainee.done, trainee.steps, line)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the bar down."""
        self.bar.stop()


class Keeper(Callback):
    """Saves every `save_every` steps or `save_minutes`, when the run is interrupted, and stops after `minutes`."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.before = folder, seconds
        self.started = self.saved = time.monotonic()
        self.kept = self.seen = -1

    @property
    def seconds(self) -> float:
        """Wall-clock time of the stage, over resumed runs."""
        return self.before + time.monotonic() - self.started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.started = self.saved = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save between optimiser steps, never within an accumulation."""
        trainee = of(pl_module)
        stage = trainee.stage
        if trainee.done in (self.seen, 0):
            return  # within an accumulation
        self.seen = trainee.done
        due = bool(stage.save_every) and trainee.done % (stage.save_every or 1) == 0
        late = time.monotonic() - self.saved > 60 * stage.save_minutes
        over = stage.minutes is not None and self.seconds > 60 * stage.minutes
        late, over = trainee.ranks.first((late, over))  # clocks differ
        if (due or late) and not (trainee.together and trainee.together.apart):  # DeepSpeed shares its state out
            trainee.settle()
            self.save(trainee, trainee.ranks.every(checkpoint.random_state()))
        if stage.minutes is not None and over:
            log.info("%s: %g minutes are over after %d steps", stage.name, stage.minutes, trainee.done)
            trainer.should_stop = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what was learnt when the user interrupts."""
        trainee = of(pl_module)
        if trainee.together and trainee.together.apart:
            return
        if isinstance(exception, KeyboardInterrupt) and trainee.done > max(self.kept, 0):
            self.save(trainee, [checkpoint.random_state()])  # alone: the others may be anywhere

    def save(self, trainee: Trainee, random: Sequence[dict[str, Any]]) -> None:
        """Write the checkpoint, with the random state of each process."""
        if trainee.ranks.leads:
            checkpoint.save(self.folder, trainee, self.seconds, random)
        self.saved, self.kept = time.monotonic(), trainee.done


def of(module: LightningModule) -> Trainee:
    """The trainee that Lightning hands to callbacks."""
    assert isinstance(module, Trainee)
    return module
