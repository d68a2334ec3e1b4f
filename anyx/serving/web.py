"""The web demo: a model behind a page, on this machine alone unless its owner says otherwise.

What was wrong with published demos is left out by design: nothing is shared over a tunnel, nothing listens on other
addresses, history is not encoded again, no typed word is a path, nothing said is HTML.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI

from anyx.media import MEDIA
from anyx.model import AnyX
from anyx.serving.hosts import LOOPBACK
from anyx.serving.intake import Bounds, Intake
from anyx.serving.most import Most
from anyx.serving.sockets import listening
from anyx.serving.web_agents import Acting, Making
from anyx.serving.web_door import Door
from anyx.serving.web_examples import examples
from anyx.serving.web_guests import Guests
from anyx.serving.web_page import page
from anyx.serving.web_style import CSS, theme
from anyx.serving.web_uploads import Uploads, kinds_of
from anyx.speaking.making import DecodingQueue

TRIED = 100  # ports, from the one that was asked for


@dataclass(frozen=True)
class Options:
    """How the demo is served: `requests` is a file of examples, `most` bounds what visitors ask for.

    `agent` makes the one of the agent tab, whose remote tools are read through the intake; without it there is no tab.
    """

    title: str = "a model"
    sessions: int = 32
    bounds: Bounds = field(default_factory=Bounds)
    most: Most = field(default_factory=Most)
    requests: Path | None = None
    hosts: tuple[str, ...] = LOOPBACK
    agent: Making | None = None


@contextmanager
def application(model: AnyX, options: Options) -> Iterator[Door]:
    """The demo as an ASGI app, with a folder and threads of its own for as long as the block runs."""
    folder = Path(tempfile.mkdtemp(prefix="anyx-demo-")).resolve()
    quiet(folder)
    try:
        with Intake(options.bounds) as intake, DecodingQueue(model) as queue:
            guests = Guests(model, queue, folder, most=options.sessions)
            acting = made(options, guests, intake, folder)
            shown = examples(model, options.requests, folder / "examples")
            uploads = Uploads(kinds_of(model), intake, folder)
            blocks = page(guests, uploads, shown, options.most, title=options.title, acting=acting)
            blocks.queue(default_concurrency_limit=None, api_open=False)
            app = gr.mount_gradio_app(
                FastAPI(openapi_url=None, docs_url=None, redoc_url=None),
                blocks,
                path="/",
                footer_links=[],
                run_history=False,
                show_error=True,
                max_file_size=options.bounds.limits.bytes,
                ssr_mode=False,
                theme=theme(),
                css=CSS,
            )
            with uploads.swept():
                called = {number for number, one in blocks.fns.items() if one.fn is not None}
                yield Door(app, hosts=options.hosts, folder=folder, functions=called)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def made(options: Options, guests: Guests, intake: Intake, folder: Path) -> Acting | None:
    """What acts in the agent tab; its tools may take media of any kind."""
    if options.agent is None:
        return None
    return Acting(options.agent(intake), guests, Uploads(MEDIA, intake, folder), most=options.most.media)


def quiet(folder: Path) -> None:
    """Have Gradio call nobody, and keep its files in one folder."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "cache")


def serve(model: AnyX, options: Options, *, host: str, port: int, told: Callable[[str], None]) -> None:
    """Serve until interrupted; `told` is given the address once it is listened to."""
    with application(model, options) as app, bound(host, port) as listening:
        place, number = listening.getsockname()[:2]
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        told(f"http://{f'[{place}]' if ':' in place else place}:{number}/")
        server.run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens on a port, or on the next one that is free; 0 takes any. ValueError where none is."""
    for number in [port] if port == 0 else range(port, min(port + TRIED, 65536)):
        try:
            return listening(host, number)
        except OSError as error:
            last = error
    raise ValueError(f"--host {host} --port {port}: cannot listen there: {last.__cause__}")
