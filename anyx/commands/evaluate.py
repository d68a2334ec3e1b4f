"""`anyx evaluate`: the measurements that an experiment's YAML names, resumable record by record."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options


def evaluate(
    experiment: Annotated[Path, typer.Argument(help="A folder with an experiment.yaml, or a YAML with `evaluation`.")],
    overrides: options.Overrides = None,
    out: options.Out = Path("out/evaluation"),
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", help="The trained model; default: `model` in the experiment's folder."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every concept, not the fixed hundred.")] = False,
    device: options.Device = None,
) -> None:
    """Measure the 4 x 4 matrix: what goes in, what comes out, and how often it is right.

    Stopped runs continue where they were: finished records are kept in --out.

    \b
    anyx evaluate experiments/emoji --out out/evaluation
    anyx evaluate experiments/emoji --model runs/emoji --all
    """
    raise NotImplementedError
