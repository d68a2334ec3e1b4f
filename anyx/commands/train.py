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
    devices: Annotated[
        int | None, typer.Option(help="Devices of each machine, a process each; default: what was started, or 1.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Machines, where torchrun or Slurm start the processes; default: theirs, or 1.")
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="auto or ddp: every process holds the model; fsdp: they share it out; deepspeed_2, deepspeed_3: ZeRO."
        ),
    ] = "auto",
) -> None:
    """Train the stages of a YAML; what learns and what is frozen is printed first.

    \b
    anyx train experiments/emoji/experiment.yaml --out runs/emoji
    anyx train experiments/emoji/experiment.yaml --stage encode stages.encode.batch_size=8
    anyx train experiments/emoji/experiment.yaml --out runs/emoji --resume
    anyx train experiments/emoji/experiment.yaml --out runs/emoji --devices 2
    """
    from anyx.config import load
    from anyx.training.launch import leads
    from anyx.training.run import train as train_stages

    checked = load(config, overrides or ())
    unknown = [name for name in stage or () if name not in checked.stages]
    if unknown:
        raise ValueError(f"--stage {unknown[0]!r} is not one of {', '.join(checked.stages) or 'no stages'}")
    folder = train_stages(
        checked,
        stages=stage or None,
        out=out,
        resume=resume,
        device=device or "auto",
        devices=devices,
        nodes=nodes,
        strategy=strategy,
    )
    if leads():
        console.print(f"[green]done[/green] {folder}", highlight=False)
