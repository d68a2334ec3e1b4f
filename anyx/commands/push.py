"""`anyx push`: a model folder onto the Hub, with a card that lists the licences of its parts."""

from pathlib import Path
from typing import Annotated

import typer

from anyx.commands.options import console


def push(
    folder: Annotated[Path, typer.Argument(help="A folder written by training, merge or save_pretrained.")],
    repo: Annotated[str, typer.Argument(help="Where to: owner/name.")],
    private: Annotated[bool, typer.Option("--private", help="Makes a new repository private.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Shows the card and the files; nothing leaves this machine.")
    ] = False,
    results: Annotated[
        Path | None, typer.Option(help="matrix.json of `anyx evaluate`, for the card's table of results.")
    ] = None,
    message: Annotated[str, typer.Option(help="The commit's message.")] = "Upload an anyx model",
) -> None:
    """Upload a model folder to the Hub, with what it needs from this machine and a card that lists licences.

    The YAML says more for the card under `card`: licence, licences (by part), tags, language, examples, notes. The
    token is that of `hf auth login`, or HF_TOKEN.

    \b
    anyx push runs/emoji me/emoji --private --dry-run
    anyx push runs/emoji me/emoji --results out/evaluation/matrix.json
    """
    from anyx.pushing import push as push_folder

    done = push_folder(folder, repo, private=private, dry_run=dry_run, results=results, message=message)
    if dry_run:
        console.print(done.card, markup=False, highlight=False, soft_wrap=True)
    for name, size in done.files.items():
        console.print(f"{size / 1e6:10.3f} MB  {name}", markup=False, highlight=False, soft_wrap=True)
    line = f"nothing was sent: {repo}" if done.address is None else done.address
    console.print(line, markup=False, highlight=False, soft_wrap=True)
