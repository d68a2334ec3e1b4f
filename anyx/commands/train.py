"""`anyx train`: the stages of a YAML, one after the other."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def train(
    config: Annotated[Path, typer.Argument(help="A YAML with `stages`.")],
    overrides: options.Overrides = None,
    out: options.Out = Path("runs/latest"),
    stage: Annotated[
        list[str] | None, typer.Option("--stage", "-s", help="Only this stage; repeatable, in the order given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where the run in --out stopped.")] = False,
    device: options.Device = None,
    max_time: Annotated[
        str | None,
        typer.Option("--max-time", help="Save and stop after this long, e.g. 2h, 90m, 00:45:00; --resume goes on."),
    ] = None,
) -> None:
    """Train the stages of a YAML; what learns and what is frozen is printed first.

    \b
    anyx train experiments/emoji/experiment.yaml --out runs/emoji
    anyx train experiments/emoji/experiment.yaml --stage encode stages.encode.batch_size=8
    anyx train experiments/emoji/experiment.yaml --out runs/emoji --resume
    anyx train experiments/emoji/experiment.yaml --out runs/emoji --resume --max-time 2h

    SIGTERM, SIGUSR1 (Slurm: --signal=USR1@120) and Ctrl-C save after the step and stop, too; whatever ends a run,
    --resume goes on as if nothing had.
    """
    from anyx.config import load
    from anyx.training.run import train as train_stages
    from anyx.training.stopping import Stopped

    checked = load(config, overrides or ())
    unknown = [name for name in stage or () if name not in checked.stages]
    if unknown:
        raise ValueError(f"--stage {unknown[0]!r} is not one of {', '.join(checked.stages) or 'no stages'}")
    try:
        folder = train_stages(
            checked, stages=stage or None, out=out, resume=resume, device=device or "auto", max_time=max_time
        )
    except Stopped as stopped:
        console.print(f"[yellow]{stopped}[/yellow]", highlight=False)
        raise typer.Exit(stopped.code) from None
    console.print(f"[green]done[/green] {folder}", highlight=False)
