"""`anyx worker`: tools of a YAML behind HTTP, for agents in other processes or on other machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from anyx.commands import options
from anyx.commands.options import console


def worker(
    setup: Annotated[Path, typer.Argument(help="A YAML with `tools`, as `anyx agent` reads; its other keys are left.")],
    overrides: options.Overrides = None,
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one and says which.")] = 8800,
    allow_host: options.AllowHost = None,
    key: Annotated[
        str | None, typer.Option(help="The environment variable that holds the key; needed off loopback.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="A call takes so long at most.")] = 120.0,
    size: Annotated[int, typer.Option(min=1, help="The largest body of a call, in bytes.")] = 2**26,
    at_once: Annotated[int, typer.Option(min=1, help="Calls that run at once.")] = 4,
    device: options.Device = None,
) -> None:
    """Offer tools to agents elsewhere: `far: {type: remote, url: "http://127.0.0.1:8800"}` in their YAML.

    \b
    anyx worker tools.yaml
    ANYX_KEY=... anyx worker tools.yaml --host 0.0.0.0 --key ANYX_KEY
    """
    import uvicorn

    from anyx import yamls
    from anyx.agents import setup as setups
    from anyx.serving.hosts import LOOPBACK, names
    from anyx.serving.intake import Intake
    from anyx.serving.sockets import listening
    from anyx.serving.tool_worker import worker as application

    local = host.strip("[]") in LOOPBACK
    secret = os.environ.get(key, "") if key else None
    if secret == "" or (secret is None and not local):
        raise ValueError(f"--host {host} --key {key}: name an environment variable that holds a key")
    nodes = yamls.read(setup, overrides or ()).get("tools")
    box = setups.toolbox(setups.checked_tools(nodes), device=options.pick_device(device))
    hosts = names(host, allow_host or ())
    with Intake() as intake, listening(host, port) as socket:
        app = application(box, intake, key=secret, seconds=seconds, bytes=size, at_once=at_once, hosts=hosts)
        where = f"http://{host}:{socket.getsockname()[1]}"
        console.print(f"{', '.join(box)} at {where}", markup=False, highlight=False, soft_wrap=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=5)).run(sockets=[socket])
