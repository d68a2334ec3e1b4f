"""`anyx check`: is this YAML a model, before any weight is read."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def check(
    config: Annotated[Path, typer.Argument(help="The YAML to validate.")],
    overrides: options.Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Print the whole YAML with bases merged in.")] = False,
) -> None:
    """Validate a YAML and name every error at once; no weight is read.

    \b
    anyx check experiments/emoji/experiment.yaml
    anyx check configs/models/nextgpt.yaml outputs.image.tokens=8 --resolved
    """
    from anyx import backends
    from anyx.config import load

    if backends.is_whole(config):
        given = backends.settings(config, overrides or ())
        console.print(f"[green]ok[/green] {config}: {given['path']} as transformers has it", highlight=False)
        return
    checked = load(config, overrides or ())
    if resolved:
        typer.echo(checked.to_yaml())
        return
    console.print(
        f"[green]ok[/green] {config}: {len(checked.encoders)} encoders, {len(checked.inputs)} inputs, "
        f"{len(checked.outputs)} outputs, {len(checked.stages)} stages",
        highlight=False,
    )
