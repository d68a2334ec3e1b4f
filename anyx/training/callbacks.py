"""Around the steps: the journal (progress bar, CSV, TensorBoard) and the keeper (checkpoints, early ends)."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from anyx.data.loader import Loader
from anyx.data.skipped import BadDataError
from anyx.training import checkpoint
from anyx.training.report import Metrics, console
from anyx.training.stopping import Stop
from anyx.training.trainee import Trainee

log = logging.getLogger("anyx")


class Journal(Callback):
    """Logs the mean losses of every `log_every` steps to the CSV, TensorBoard, the progress bar or the log.

    To the last three also how many samples were skipped, where any were.
    """

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
        self.started, self.seen = time.monotonic(), trainee.done
        self.bar.start()
        self.task = self.bar.add_task(trainee.stage.name, total=trainee.steps, completed=trainee.done, losses="")

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Log at whole steps only."""
        trainee = of(pl_module)
        if trainee.done == self.seen:
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
        if isinstance(loader := trainer.train_dataloader, Loader) and (skipped := loader.report.failed.total()):
            values["skipped"] = float(skipped)
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
    """Saves every `save_every` steps or `save_minutes`, and ends a stage after `minutes`, a run when that is asked to.

    All of it between two optimiser steps, where a run that goes on stands exactly as this one.
    """

    def __init__(self, folder: Path, seconds: float, stop: Stop) -> None:
        self.folder, self.before, self.stop = folder, seconds, stop
        self.started = self.saved = time.monotonic()
        self.seen = -1

    @property
    def seconds(self) -> float:
        """Wall-clock time of the stage, over resumed runs."""
        return self.before + time.monotonic() - self.started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and take the signals from Lightning, which would end within an accumulation."""
        self.started = self.saved = time.monotonic()
        self.seen = of(pl_module).done
        self.stop.take_signals()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Save between optimiser steps, never within an accumulation."""
        trainee = of(pl_module)
        stage = trainee.stage
        if trainee.done == self.seen:
            return  # within an accumulation
        self.seen = trainee.done
        due = bool(stage.save_every) and trainee.done % (stage.save_every or 1) == 0
        late = time.monotonic() - self.saved > 60 * stage.save_minutes
        over = stage.minutes is not None and self.seconds > 60 * stage.minutes
        ending, late, over = trainee.ranks.any((self.stop.asked, late, over))  # clocks differ, signals may reach one
        if (due or ending or late) and not (trainee.together and trainee.together.apart):  # DeepSpeed shares state out
            trainee.settle()
            checkpoint.save(self.folder, trainee, self.seconds)
            trainee.ranks.wait()  # a process that ends while the first one writes may take it along
            self.saved = time.monotonic()
        if over:
            trainee.settle()
            trainee.check_finite()
            log.info("%s: %g minutes are over after %d steps", stage.name, stage.minutes, trainee.done)
            trainer.should_stop = True
        if ending and trainee.done < trainee.steps:
            self.stop.reason = self.stop.reason or "another process was asked to"
            trainer.should_stop = True

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Keep what was learnt when the data give out; of many processes the others may be anywhere."""
        trainee = of(pl_module)
        if isinstance(exception, BadDataError | ChildProcessError) and trainee.done and trainer.world_size == 1:
            checkpoint.save(self.folder, trainee, self.seconds)


def of(module: LightningModule) -> Trainee:
    """The trainee that Lightning hands to callbacks."""
    assert isinstance(module, Trainee)
    return module
