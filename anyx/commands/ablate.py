"""`anyx ablate`: train and measure a grid of variants of one experiment, and say which differences could be chance."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyx.commands.options import console

MODEL, EVALUATION, DONE = "model", "evaluation", "trained.yaml"  # within a variant's folder

if TYPE_CHECKING:
    from anyx.evaluation.grid import Variant


def ablate(
    experiment: Annotated[Path, typer.Argument(help="A folder with an experiment.yaml and an evaluation.yaml.")],
    words: Annotated[
        list[str],
        typer.Argument(metavar="a.b=c,d...", help="What varies, values between commas, and what holds for all."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder a variant and seed, and the tables.")] = Path(
        "runs/ablation"
    ),
    seeds: Annotated[str, typer.Option(help="Every variant is trained once a seed, e.g. 0,1,2.")] = "0",
    jobs: Annotated[int, typer.Option(min=1, help="So many variants at once, which share the cores.")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="So many samples a cell; default: the YAML's.")] = None,
    cells: Annotated[
        str | None, typer.Option(help="Routes to measure, e.g. image->text,text->image; default: all.")
    ] = None,
) -> None:
    """Train every variant of a grid, measure each, and compare it with the first.

    Differences are paired by request and seed, with 95% intervals over what is asked about and Holm's correction: they
    tell of these models. Give several seeds to see what another training would change; each seed's accuracy is told. A
    stopped grid goes on where it was; what each run prints is in its `run.log`. Writes ablation.md, ablation.json and
    ablation.png.

    \b
    anyx ablate experiments/emoji inputs.image.projector.type=linear,mlp,resampler --cells 'image->text'
    anyx ablate experiments/emoji outputs.image.tokens=1,4,16 --seeds 0,1 --jobs 2 stages.polish.steps=500
    anyx ablate experiments/emoji 'inputs.image.projector={type: linear},{type: mlp, hidden: 256}'
    """
    import torch
    from rich.progress import track

    from anyx.config import load
    from anyx.evaluation.grid import markdown, save, table, variants
    from anyx.evaluation.run import opened

    made, fixed = variants(words)
    if taken := [word for word in words if word.partition("=")[0] == "seed"]:
        raise ValueError(f"{taken[0]}: every variant is trained by the seeds of --seeds, e.g. --seeds 0,1")
    chosen = [int(word) if word.strip().isdecimal() else _refuse(seeds) for word in seeds.split(",")]
    config = experiment / "experiment.yaml"
    for variant in made:  # every error of every variant, before the first is trained
        load(config, [*fixed, *variant.overrides])
    settings = [] if cells is None else [f"cells=[{cells}]"]
    measured = opened(experiment, settings)
    runs = {(variant.name, seed): out / variant.name / f"seed{seed}" for variant in made for seed in chosen}
    changes = {variant.name: variant.overrides for variant in made}
    threads = max(1, torch.get_num_threads() // jobs)  # as many as OMP_NUM_THREADS leaves
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        tasks = {}
        for (name, seed), folder in runs.items():
            overrides = (*fixed, *changes[name], f"seed={seed}")
            tasks[pool.submit(_run, experiment, overrides, folder, limit, settings, threads)] = folder
        for task in track(as_completed(tasks), "variants", len(tasks), console=console):
            if error := task.exception():
                pool.shutdown(wait=False, cancel_futures=True)  # those that have begun come to their end
                raise ValueError(f"{tasks[task]}: {type(error).__name__}: {error}") from error
    found = table(
        {v.name: {seed: measured.rights(runs[v.name, seed] / EVALUATION, limit) for seed in chosen} for v in made},
        {v.name: _costs(v, [runs[v.name, seed] / MODEL for seed in chosen]) for v in made},
        measured.corpus.label,
    )
    save(found, out)
    console.print(markdown(found), markup=False, highlight=False)
    console.print(str(out / "ablation.png"), style="cyan", markup=False, highlight=False)


def _refuse(seeds: str) -> int:
    raise ValueError(f"--seeds {seeds!r}: whole numbers between commas are allowed, e.g. 0,1,2")


def _run(
    experiment: Path, overrides: Sequence[str], folder: Path, limit: int | None, settings: Sequence[str], threads: int
) -> None:
    """Train and measure one variant, in a process of its own and with its share of the cores."""
    import torch

    from anyx.config import load
    from anyx.evaluation import evaluate
    from anyx.training.run import train

    torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "run.log").open("a", encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        config, mark = load(experiment / "experiment.yaml", overrides), folder / DONE
        if not mark.is_file() or mark.read_text(encoding="utf-8") != config.to_yaml():
            train(config, out=folder / MODEL, resume=(folder / MODEL / "config.yaml").is_file())
            mark.write_text(config.to_yaml(), encoding="utf-8")
        evaluate(experiment, folder / EVALUATION, settings, model=folder / MODEL, limit=limit)


def _costs(variant: Variant, folders: Iterable[Path]) -> dict[str, Any]:
    """Parameters that the saved model holds of its own, and seconds of training a run (the mean over seeds)."""
    from safetensors import safe_open

    seconds, parameters = [], 0
    for folder in folders:
        last = {row["stage"]: float(row["seconds"]) for row in csv.DictReader((folder / "metrics.csv").open())}
        seconds.append(sum(last.values()))
        with safe_open(folder / "model.safetensors", "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
        parameters = sum(map(math.prod, shapes))
    return {
        "overrides": list(variant.overrides),
        "parameters": parameters,
        "seconds": round(sum(seconds) / len(seconds), 1),
    }
