"""`anyx ablate`: train and measure a grid of variants of one experiment, and say which differences could be chance."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyx.commands.options import console

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

    Differences are paired by request and seed, with 95% intervals over requests and Holm's correction; give several
    seeds to see what another training would change. A stopped grid goes on where it was; what each run prints is in its
    `run.log`. Writes ablation.md, ablation.json and ablation.png.

    \b
    anyx ablate experiments/emoji inputs.image.projector.type=linear,mlp,resampler --cells 'image->text'
    anyx ablate experiments/emoji outputs.image.tokens=1,4,16 --seeds 0,1 --jobs 2 stages.polish.steps=500
    anyx ablate experiments/emoji 'inputs.image.projector={type: linear},{type: mlp, hidden: 256}'
    """
    from rich.progress import track

    from anyx.config import load
    from anyx.evaluation.grid import markdown, save, table, variants
    from anyx.evaluation.run import rights

    made, fixed = variants(words)
    chosen = [int(word) if word.strip().isdecimal() else _refuse(seeds) for word in seeds.split(",")]
    config = experiment / "experiment.yaml"
    for variant in made:  # every error of every variant, before the first is trained
        load(config, [*fixed, *variant.overrides])
    runs = {(variant.name, seed): out / variant.name / f"seed{seed}" for variant in made for seed in chosen}
    measure = [] if limit is None else ["--limit", str(limit)]
    measure += [] if cells is None else [f"cells=[{cells}]"]
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [
            pool.submit(
                _run, experiment, (*fixed, *variant.overrides, f"seed={seed}"), measure, runs[variant.name, seed], jobs
            )
            for variant in made
            for seed in chosen
        ]
        for task in track(tasks, "variants", console=console):
            task.result()
    found = table(
        {v.name: {seed: rights(experiment, runs[v.name, seed] / "evaluation") for seed in chosen} for v in made},
        {v.name: _costs(v, [runs[v.name, seed] for seed in chosen]) for v in made},
    )
    save(found, out)
    console.print(markdown(found), markup=False, highlight=False)
    console.print(str(out / "ablation.png"), style="cyan", markup=False, highlight=False)


def _refuse(seeds: str) -> int:
    raise ValueError(f"--seeds {seeds!r}: whole numbers between commas are allowed, e.g. 0,1,2")


def _run(experiment: Path, overrides: Sequence[str], measure: Sequence[str], folder: Path, jobs: int) -> None:
    """Train and measure one variant in processes of their own, with its share of the cores."""
    folder.mkdir(parents=True, exist_ok=True)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    resume = ["--resume"] if (folder / "config.yaml").is_file() else []
    commands = [
        ["train", str(experiment / "experiment.yaml"), *overrides, "--out", str(folder), *resume],
        ["evaluate", str(experiment), "--model", str(folder), "--out", str(folder / "evaluation"), *measure],
    ]
    log = folder / "run.log"
    with log.open("a", encoding="utf-8") as stream:
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "anyx", *command], stdout=stream, stderr=subprocess.STDOUT, env=environment
            )
            if done.returncode:
                last = log.read_text(encoding="utf-8").strip().splitlines()[-3:]
                raise ValueError(f"anyx {command[0]} of {folder} ended with {done.returncode}: {' '.join(last)}")


def _costs(variant: Variant, folders: Iterable[Path]) -> dict[str, Any]:
    """Parameters that the saved model holds of its own, and seconds of training a run (the mean over seeds)."""
    from safetensors import safe_open

    seconds, parameters = [], 0
    for folder in folders:
        last = {row["stage"]: float(row["seconds"]) for row in csv.DictReader((folder / "metrics.csv").open())}
        seconds.append(sum(last.values()))
        with safe_open(folder / "model.safetensors", "pt") as file:
            shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
        parameters = sum(_count(shape) for shape in shapes)
    return {
        "overrides": list(variant.overrides),
        "parameters": parameters,
        "seconds": round(sum(seconds) / len(seconds), 1),
    }


def _count(shape: Sequence[int]) -> int:
    total = 1
    for size in shape:
        total *= size
    return total
