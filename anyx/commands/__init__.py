"""The command line `anyx`, one file a command. Heavy imports wait inside the functions."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata
from typing import Annotated

import typer

from anyx.commands import (
    ablate,
    agent,
    benchmark,
    cache,
    chat,
    check,
    convert,
    data,
    demo,
    distance,
    doctor,
    evaluate,
    export,
    fetch,
    gallery,
    merge,
    migrate,
    plan,
    push,
    run,
    serve,
    train,
    worker,
)

COMMANDS = (
    run.run,
    chat.chat,
    agent.agent,
    worker.worker,
    demo.demo,
    serve.serve,
    gallery.gallery,
    train.train,
    evaluate.evaluate,
    benchmark.benchmark,
    distance.distance,
    ablate.ablate,
    plan.plan,
    check.check,
    doctor.doctor,
    fetch.fetch,
    convert.convert,
    merge.merge,
    push.push,
    migrate.migrate,
    export.export,
)


def application() -> typer.Typer:
    """The commands under one roof."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(face)
    for command in COMMANDS:
        app.command()(command)
    app.add_typer(data.group(), name="data")
    app.add_typer(cache.group(), name="cache")
    return app


def face(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say it, and end.", is_eager=True, callback=lambda asked: say_version() if asked else None
        ),
    ] = False,
) -> None:
    """Any-to-any language models from parts. COMMAND --help shows examples; --debug shows tracebacks."""


def say_version() -> None:
    """The versions that are installed; nothing heavy is imported for it."""
    anyx, torch = (metadata.version(name) for name in ("anyx", "torch"))
    typer.echo(f"anyx {anyx} (Python {platform.python_version()}, torch {torch})")
    raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; a user's mistake is one red line and code 2, `--debug` shows the traceback instead."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns of a missing torchvision, which nobody needs
    tell()
    if os.getcwd() not in sys.path:  # at the end: a component of one's own is found, and hides nothing
        sys.path.append(os.getcwd())
    try:
        application()([word for word in words if word != "--debug"], prog_name="anyx")
    except (ValueError, OSError, ImportError) as error:
        if debug:
            raise
        typer.secho(f"error: {error}", fg=typer.colors.RED, err=True)
        raise SystemExit(2) from None


def tell() -> None:
    """Say on stderr what the library logs: how far a run is, what was skipped."""
    log = logging.getLogger("anyx")
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
