"""`anyx evaluate`: the measurements that an experiment's evaluation.yaml names, resumable record by record."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def evaluate(
    experiment: Annotated[Path, typer.Argument(help="A folder with an evaluation.yaml.")],
    overrides: options.Overrides = None,
    out: options.Out = Path("out/evaluation"),
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="The trained model; default: the one that the YAML names.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every concept, not the YAML's fixed choice.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="So many concepts a cell; for a quick look.")] = None,
    seed: options.Seed = 0,
    device: options.Device = None,
) -> None:
    """Measure the 4 x 4 matrix: what goes in, what comes out, and how often it is right.

    A stopped run continues where it was: finished records are kept in --out.

    \b
    anyx evaluate experiments/emoji --out out/evaluation
    anyx evaluate experiments/emoji --model runs/emoji --limit 5
    anyx evaluate experiments/emoji batch=32 max_new_tokens=24
    """
    from anyx.evaluation.run import evaluate as measure

    place = options.pick_device(device)
    measure(experiment, out, overrides or (), model=model, all=everything, limit=limit, seed=seed, device=place)
    for name in ("matrix.json", "report.html"):
        console.print(str(out / name), style="cyan", markup=False, highlight=False)
