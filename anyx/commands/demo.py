"""`anyx demo`: talk with a model in the browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anyx.commands import loading, options
from anyx.commands.options import console

if TYPE_CHECKING:
    from anyx.agents.loop import Agent
    from anyx.agents.marked import MarksAgent
    from anyx.serving.intake import Intake


def demo(
    model: options.Served = str(options.MODEL),
    overrides: options.ModelOverrides = None,
    host: options.Host = "127.0.0.1",
    allow_host: options.AllowHost = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Or the next free one; 0: any free one.")] = 7860,
    max_sessions: Annotated[int, typer.Option(min=1, help="Visitors remembered; the longest away is forgotten.")] = 32,
    max_upload: Annotated[float, typer.Option(min=0.001, help="MiB of one file at most.")] = 32,
    most: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="The most a visitor may ask for: tokens, steps, size, frames, seconds."
        ),
    ] = None,
    examples: Annotated[
        Path | None,
        typer.Option(help="Requests as JSONL, as `anyx gallery` reads; default: demo.jsonl beside the model."),
    ] = None,
    agent: Annotated[
        Path | None,
        typer.Option(help="A YAML of a model with tools, for a tab that shows each step; see docs/agents.md."),
    ] = None,
    device: options.Device = None,
    dtype: loading.DTypeOption = None,
    offload: loading.OffloadOption = None,
    quantize: loading.QuantizeOption = None,
) -> None:
    """Talk with a model in the browser: words, pictures, sounds and clips in and out.

    \b
    anyx demo
    anyx demo runs/emoji --port 0 --most steps=50
    anyx demo --agent agent.yaml
    anyx demo outputs.image.decoder.steps=5
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    from dataclasses import replace
    from functools import partial

    from anyx.commands.serve import called
    from anyx.serving import web
    from anyx.serving.hosts import names
    from anyx.serving.intake import Bounds
    from anyx.serving.most import bounds
    from anyx.serving.web_examples import beside

    place, values = options.first_word(model, str(options.MODEL), overrides)
    limited = Bounds()
    limited = replace(limited, limits=replace(limited.limits, bytes=int(max_upload * 2**20)))
    allowed = bounds(most or ())
    setup = None if agent is None else checked(agent)
    loaded = loading.load_model(Path(place), loading.Loading(device, dtype, offload, quantize), values)
    settings = web.Options(
        title=called(Path(place)),
        sessions=max_sessions,
        bounds=limited,
        most=allowed,
        requests=examples if examples is not None else beside(Path(place)),
        hosts=names(host, allow_host or ()),
        agent=None if setup is None else partial(acting, setup, options.pick_device(device)),
    )
    with loaded.merged():
        web.serve(loaded, settings, host=host, port=port, told=tell)


def checked(place: Path) -> dict[str, Any]:
    """The setup of an agent, all its mistakes told before any weight is read."""
    from anyx import yamls
    from anyx.agents import setup

    raw = yamls.read(place, ())
    setup.check(raw)
    return raw


def acting(raw: dict[str, Any], device: str, intake: Intake) -> Agent | MarksAgent:
    """The agent of a setup."""
    from functools import partial

    from anyx.agents import setup
    from anyx.serving.tool_client import remote

    return setup.agent(raw, remote=partial(remote, intake), device=device)


def tell(address: str) -> None:
    """Say where the page is."""
    console.print(f"{address}  (Ctrl-C ends it)", markup=False, highlight=False)
