"""Who is told of a run's losses beside `metrics.csv`: TensorBoard in the stage's folder, Weights & Biases where named.

Nothing leaves the machine unless `logger` names `wandb`; WANDB_MODE=offline keeps its files here too.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

PROJECT = "anyx"


def loggers_of(names: Sequence[str], folder: Path) -> list[Logger]:
    """The loggers of these names for a stage's folder; `ValueError` where W&B is named and not installed."""
    made: list[Logger] = []
    for name in names:
        if name == "tensorboard":
            made.append(TensorBoardLogger(folder, name="", version=""))
        else:
            if importlib.util.find_spec("wandb") is None:
                raise ValueError("logger: wandb is not installed; install the extra: pip install -e '.[wandb]'")
            run = folder.resolve()
            title = f"{run.parent.name}/{run.name}"
            folder.mkdir(parents=True, exist_ok=True)
            made.append(WandbLogger(title, save_dir=folder, project=PROJECT, group=run.parent.name))
    return made


def over(loggers: Sequence[Logger]) -> None:
    """Write what loggers hold, and let the next stage begin a run of its own."""
    for logger in loggers:
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()
