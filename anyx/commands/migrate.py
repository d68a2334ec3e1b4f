"""`anyx migrate`: a YAML, or a model's or run's folder, in today's form."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands.options import console


def migrate(
    places: Annotated[list[Path], typer.Argument(metavar="FILE_OR_FOLDER...", help="YAMLs, model folders, runs.")],
    check: Annotated[
        bool, typer.Option("--check", help="Only says what is old, and ends with 1 where anything is.")
    ] = False,
) -> None:
    """Write YAMLs and checkpoints of earlier versions of anyx in today's form; all of them are read as they are, too.

    Comments stay, but where more than left-out keys changes. What is of a newer version is refused.

    \b
    anyx migrate experiment.yaml
    anyx migrate runs/emoji --check
    """
    from anyx import durable, migrations
    from anyx.hub import CONFIG

    old = 0
    for place in places:
        if not place.exists():
            raise ValueError(f"there is no file or folder '{place}'")
        files = [place] if place.is_file() else [file for file in (place / CONFIG,) if file.is_file()]
        states = sorted(place.glob("*/state-*.pt")) if place.is_dir() else []
        if not files and not states:
            raise ValueError(f"{place} has no {CONFIG} and no checkpoints: it is no model's folder, nor a run's")
        for file in files:
            text = file.read_text(encoding="utf-8")
            made = migrations.rewritten(text, str(file))
            old += made != text
            if made != text and not check:
                durable.write_text(file, made)
            say(file, made != text, check)
        for file in states:
            from anyx.training.history import upgrade

            changed = upgrade(file, write=not check)
            old += changed
            say(file, changed, check)
    if check and old:
        raise typer.Exit(1)


def say(file: Path, changed: bool, check: bool) -> None:
    """One line on one file."""
    told = ("is of an earlier version" if check else "written anew") if changed else "is of this version"
    console.print(f"{file}: {told}", markup=False, highlight=False, soft_wrap=True)
