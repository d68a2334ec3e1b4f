"""A run: build the model, say what learns, fit every stage, save.

`train` leaves a folder: `config.yaml` (resolved), `metrics.csv`, `loss.png`, `<stage>/` with a checkpoint while it
runs, the final weights once it is done, TensorBoard's events and `skipped.jsonl` (what could not be read), and the
model itself, which `AnyX.from_pretrained` loads. Features that frozen components computed stay in the user's
cache (`ANYX_HOME`), where the next run finds them.

On many devices (`launch.py`) every process goes through the same story, each with its share of every batch; the first
one writes. All machines see the same folders.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch

from anyx import durable
from anyx.build import build
from anyx.config import Config
from anyx.data.cache import FeatureCache
from anyx.data.loader import Loader
from anyx.data.mixture import Batches, Mixture
from anyx.data.skipped import READ, Report
from anyx.data.sources import Feed
from anyx.hub import CONFIG, TOKENIZER
from anyx.model import AnyX
from anyx.packaged import home
from anyx.randomness import seed_everything
from anyx.ranks import ALONE, Ranks
from anyx.schema import Stage
from anyx.training import checkpoint, history, speed
from anyx.training.backbones import Backbones, Model
from anyx.training.beginning import begin
from anyx.training.callbacks import Journal, Keeper
from anyx.training.engines import engine, share_out
from anyx.training.launch import Machines, environment, joined, start
from anyx.training.lengths import lengths
from anyx.training.loggers import loggers_of, over
from anyx.training.plan import choose, feeds_of, held_out, kept, settings_of
from anyx.training.prepare import fill, fit_scales
from anyx.training.readers import make_reader
from anyx.training.report import Metrics, console, draw_curves, table
from anyx.training.stage import select
from anyx.training.stopping import Stop
from anyx.training.trainee import Trainee
from anyx.training.validating import Validator

APART = 1_000_003  # between the seeds of processes
log = logging.getLogger("anyx")


def train(
    config: Config,
    *,
    out: str | Path,
    stages: Sequence[str] | None = None,
    resume: bool = False,
    cache: str | Path | None = None,
    device: str = "auto",
    max_time: str | None = None,
    strict: bool = False,
    devices: int | None = None,
    nodes: int | None = None,
    strategy: str = "auto",
) -> Path:
    """Train the stages of a configuration, in its order (or those named, in theirs); returns the model's folder.

    A resumed run loads what is done in the folder, also of stages that are not named, in the order it was done, and
    goes on from there; `ValueError` where that was trained by another configuration. `strict` is every stage's.

    After `max_time` ("2h", "90m", "00:45:00"), or at a signal (SIGTERM, SIGUSR1, Ctrl-C), the run saves between two
    steps and raises `Stopped`, which says how to go on. A second Ctrl-C ends at once, with the last checkpoint.

    With several `devices` one process is started for each, here; on several `nodes` torchrun or Slurm start them, and
    what they started is the default. A stage's `batch_size` is that of all processes together, and so are its losses:
    it learns what it learns on one device. A run may go on with another number of processes. `strategy` is `ddp`
    ("auto" too) where every process holds the whole model, `fsdp` where they share the LLM's layers out, `deepspeed_2`
    or `deepspeed_3` (ZeRO; the extra `deepspeed`).
    """
    place_of(device)  # a device that is not there is said before anything is built
    machines = Machines.here(devices, nodes, strategy)
    machines.check(device)
    for stage in choose(config, stages):
        if stage.batch_size < machines.world:
            told = f"{stage.batch_size} conversations cannot be shared by {machines.world} processes"
            raise ValueError(f"stages.{stage.name}.batch_size: {told}; it is the batch of all of them together")
    if strict:
        config = replace(config, stages={name: replace(stage, strict=True) for name, stage in config.stages.items()})
    stop = Stop(max_time)
    kept_at = Path(cache) if cache is not None else home() / "features"
    here = partial(
        story, config, stop, machines, out=Path(out), stages=stages, resume=resume, cache=kept_at, device=device
    )
    if machines.world > 1 and environment() is None:
        return start(partial(stop.heeding, here), machines.devices)
    return stop.heeding(here)


def story(
    config: Config,
    stop: Stop,
    machines: Machines,
    *,
    out: Path,
    stages: Sequence[str] | None,
    resume: bool,
    cache: Path,
    device: str,
) -> Path:
    """What one of the run's processes does, from the first stage to the model's folder."""
    chosen = choose(config, stages)
    if not resume and any((out / stage.name).exists() for stage in chosen):
        raise ValueError(f"{out} holds a run already: resume it, or name another folder")
    history.check_same(out, config)
    done = history.done(out, config)
    chosen = choose(config, done) + [stage for stage in chosen if stage.name not in done]
    feeds = {stage.name: feeds_of(stage, config) for stage in chosen}  # what is missing is said before a stage learns
    held = {stage.name: held_out(stage, config) for stage in chosen}
    with joined(device) as ranks:
        ranks.wait()  # all have seen the folder as it was
        if ranks.leads:
            out.mkdir(parents=True, exist_ok=True)
            for folder in (out, out / TOKENIZER):
                durable.drop_parts(folder)
            durable.write_text(out / CONFIG, config.to_yaml())
        metrics = Metrics(out / "metrics.csv", sorted({name for s in config.stages.values() for name in s.losses}))
        features, settings = FeatureCache(cache), settings_of(config)
        run = Run(
            out, metrics, features, settings, device, (), config.logger, held, stop=stop, ranks=ranks, machines=machines
        )

        seed_everything(config.seed)
        model: Model = Backbones.build(config) if config.llm is None else build(config, lazy=True)
        learning = [part for stage in chosen for part in select(model.parts(), stage.train).names]
        for stage in chosen:
            stop.check(f"before stage {stage.name}")
            fit(model, stage, *feeds[stage.name], run)
        if isinstance(model, AnyX):
            model.learnt = tuple(dict.fromkeys((*model.learnt, *(part for part in learning if not kept(part)))))
        if ranks.leads:
            model.save_pretrained(out)
            draw_curves(metrics.curves(), out / "loss.png")
        ranks.wait()
    return out


@dataclass(frozen=True)
class Run:
    """Where a run writes, and what its stages share. `settings` say what encoders and decoders were built with.

    `loggers` name what is told of losses beside the CSV, `held` are the feeds that stages are validated on, by stage.
    `ranks` say which of the run's processes this is, `machines` where they are. `callbacks` are Lightning's, beside our
    own: they see every stage.
    """

    out: Path
    metrics: Metrics
    features: FeatureCache
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "auto"
    callbacks: Sequence[lightning.Callback] = ()
    loggers: Sequence[str] = ("tensorboard",)
    held: Mapping[str, Sequence[Feed]] = field(default_factory=dict)
    stop: Stop = field(default_factory=Stop)
    ranks: Ranks = ALONE
    machines: Machines = field(default_factory=Machines)


def fit(model: Model, stage: Stage, feeds: Sequence[Feed], weights: Sequence[float], run: Run) -> None:
    """Train one stage, go on with one that was interrupted, or load what one left that is done."""
    folder, ranks = run.out / stage.name, run.ranks
    seed_everything(stage.seed)
    lockstep = share_out(model, stage, run.machines, run.device)
    steps = stage.length(sum(len(feed.source) for feed in feeds))
    trainee = Trainee(model, stage, steps, ranks, lockstep, run.machines.strategy)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    console().print(table(model.parts(), trainee.selection, f"stage {stage.name}: {trainee.steps} steps"))
    if stage.init is not None:  # of a stage that is done too: what it did not train stands on it
        begin(model, Path(stage.init))
        trainee.follow()
    if (folder / checkpoint.FINAL).is_file():
        checkpoint.load_weights(folder / checkpoint.FINAL, trainee.thawed())
        if ranks.leads:
            checkpoint.drop(folder)
        if lockstep:
            lockstep.release()
        log.info("%s is done already", stage.name)
        fit_scales(trainee, feeds)
        return
    state = checkpoint.restore(folder, trainee)
    if ranks.leads:
        run.metrics.rewind(stage.name, trainee.done)
    trainer = make_trainer(trainee, run, state)
    if stage.validate is not None:
        trainer.callbacks[1:1] = [Validator.of(trainee, run, trainer.strategy.root_device, state)]  # type: ignore[attr-defined]
    loader = make_loader(trainee, feeds, weights, run, trainer.strategy.root_device)
    trainer.fit_loop.epoch_loop.max_steps = max(0, trainee.steps - trainee.done)  # the data may have said how many
    tuned = speed.tuned(model, stage, trainer.strategy.root_device)
    with run.stop.held():
        with tuned, warnings.catch_warnings(action="ignore"):  # Lightning's advice on workers and modes, chosen here
            trainer.fit(trainee, train_dataloaders=loader)
        over(trainer.loggers)
        if trainer.interrupted:
            raise KeyboardInterrupt
        if run.stop.asked and trainee.done < trainee.steps:
            run.stop.check(f"in stage {stage.name} after step {trainee.done} of {trainee.steps}")
        mine, *others = ranks.every(loader.report)
        mine.join(others)
        mine.check([len(feed.source) for feed in feeds])
        log.info("%s: %s", stage.name, mine)
        checkpoint.finish(folder, trainee)
        ranks.wait()
    fit_scales(trainee, feeds)


def make_loader(
    trainee: Trainee, feeds: Sequence[Feed], weights: Sequence[float], run: Run, device: torch.device
) -> Loader:
    """The stage's batches from where it stands, with everything computed that frozen components say of them."""
    stage, ranks = trainee.stage, run.ranks
    reader = make_reader(trainee, feeds, run.features, run.settings, device)
    trainee.model.to(device)
    share = (ranks.rank, ranks.world)
    fill(trainee.model, reader, feeds, run.features, stage.workers or 0, stage=stage, device=device, share=share)
    ranks.wait()
    if ranks.world > 1:
        run.features.refresh()
    mixture = Mixture([feed.source for feed in feeds], weights, seed=stage.seed, variants=[f.variants for f in feeds])
    # where the LLM's states are given, length costs nothing, and rows of like length are often of one key: a batch with
    # few groups of another would move its projector as far as one with many (that of emoji world apart)
    planned = stage.tokens or (stage.bucket and not trainee.given)
    length = lengths(feeds, reader, trainee.model) if planned else None
    batches = Batches(mixture, stage.batch_size, length=length, tokens=stage.tokens, padded=not trainee.packs)
    if stage.tokens and stage.steps is None:
        trainee.steps = stage.length(sum(mixture.sizes), batches.count)
        log.info("%s: %d steps of up to %d positions", stage.name, trainee.steps, stage.tokens)
    if trainee.position:
        batches.load_state_dict(trainee.position)
    seed_everything(stage.seed + ranks.rank * APART)  # no two processes draw the same noise
    skipped = run.out / stage.name / ("skipped.jsonl" if ranks.leads else f"skipped-of-rank-{ranks.rank}.jsonl")
    report = Report([feed.name for feed in feeds], stage.strict, stage.bad, skipped, stage.name)
    if counted := trainee.position.get(READ):
        report.load_state_dict(counted)
    return Loader(feeds, reader, batches, workers=stage.workers or 0, report=report, ranks=ranks)


def make_trainer(trainee: Trainee, run: Run, state: Mapping[str, Any] | None) -> lightning.Trainer:
    """Lightning's trainer with our journal and keeper; precision, clipping and checkpoints are the trainee's own."""
    accelerator, devices = place_of(run.device)
    stage, folder = trainee.stage, run.out / trainee.stage.name
    seconds = float(state["seconds"]) if state else 0.0
    return lightning.Trainer(
        accelerator=accelerator,
        devices=run.machines.devices if run.machines.world > 1 else devices,
        num_nodes=run.machines.nodes,
        strategy=engine(run.machines, stage),
        max_steps=max(0, trainee.steps - trainee.done),
        max_epochs=-1,
        accumulate_grad_batches=stage.accumulate,
        logger=loggers_of(run.loggers, folder),
        callbacks=[
            Journal(run.metrics, seconds),
            Keeper(folder, seconds, run.stop),
            checkpoint.Resume(folder, state),
            *run.callbacks,
        ],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1 << 30,
        num_sanity_val_steps=0,
    )


def place_of(device: str) -> tuple[str, int | list[int]]:
    """Lightning's accelerator and devices for a device as torch writes it ("cpu", "cuda:1"), or "auto"."""
    here = ["auto", "cpu"]
    if torch.cuda.is_available():
        here += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        here.append("mps")
    if device not in here:
        raise ValueError(f"device: {device!r} is not one of {', '.join(here)}")
    kind, _, index = device.partition(":")
    return kind, [int(index)] if index else 1
