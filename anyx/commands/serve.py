"""`anyx serve`: a model behind OpenAI's HTTP routes, for programs and other people's clients."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Annotated

import typer

from anyx.commands import loading, options
from anyx.commands.options import console


def serve(
    model: options.Served = str(options.MODEL),
    overrides: options.ModelOverrides = None,
    host: options.Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes one that is free.")] = 8000,
    name: Annotated[str | None, typer.Option(help="What clients call the model; default: its folder's name.")] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            help="A key that clients must bring; repeatable. ANYX_API_KEYS=one,two in the environment shows them to no "
            "other user of this machine."
        ),
    ] = None,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Let in whoever reaches another --host than loopback, without a key.")
    ] = False,
    allow_host: options.AllowHost = None,
    fetch_from: Annotated[
        list[str] | None, typer.Option(help="A host that media may be fetched from by URL; repeatable. Default: none.")
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Requests that the LLM answers side by side.")] = 8,
    window: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for others before a batch.")] = 0.005,
    queue: Annotated[int, typer.Option(min=0, help="Requests that may wait beside a batch; more are told 429.")] = 64,
    max_connections: Annotated[
        int, typer.Option(min=1, help="Connections at once; an idle one gives way to a new one, or that is told 503.")
    ] = 512,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that a reply may take, waiting included.")] = 120.0,
    grace: Annotated[float, typer.Option(min=0.0, help="Seconds to finish what is in work, at the end.")] = 30.0,
    most: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="The most that a client may ask for: tokens, steps, size, frames, seconds, guidance; repeatable. "
            "Default: tokens=1024, steps=200, frames=128, seconds=60, size: 4 times the decoder's own.",
        ),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="As --most tokens=NUMBER.")] = None,
    max_body: Annotated[float, typer.Option(min=0.001, help="The most MiB of a request.")] = 48.0,
    expiry: Annotated[float, typer.Option(min=1.0, help="Seconds that media which were made can be fetched.")] = 3600.0,
    keep: Annotated[float, typer.Option(min=0.1, help="MiB of such media; the oldest go first.")] = 256.0,
    ask: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=WORDS",
            help='How the model is asked for an output by the routes of pictures and speech: image="Draw {prompt}." '
            "Default: as its YAML says (outputs.image.ask).",
        ),
    ] = None,
    device: options.Device = None,
    dtype: loading.DTypeOption = None,
    offload: loading.OffloadOption = None,
    quantize: loading.QuantizeOption = None,
) -> None:
    """Serve a model to OpenAI's clients: chat with media in and out, pictures, speech.

    \b
    anyx serve                                     # the embedded model on http://127.0.0.1:8000/v1
    anyx serve runs/emoji --port 9000 --max-batch 16
    ANYX_API_KEYS=secret anyx serve --host 0.0.0.0 --allow-host models.example.org
    anyx serve experiments/anyworld/model --ask image="draw {prompt}." --most size=256

    \b
    curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
      -d '{"model": "emoji", "messages": [{"role": "user", "content": "Draw a penguin."}]}'

    Only this machine reaches it unless --host says otherwise, then with a key (or --no-key). Nothing is sent anywhere,
    no path is opened, and no URL is fetched but from hosts that --fetch-from names. SIGTERM: what is in work is
    answered, new requests are told 503.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ImportError(f"anyx serve: {error}; install the extra: pip install -e '.[serve]'") from error
    from anyx.serving.app import application
    from anyx.serving.engine import Engine
    from anyx.serving.hosts import LOOPBACK, names
    from anyx.serving.intake import Bounds, Intake
    from anyx.serving.most import amounts
    from anyx.serving.running import Running
    from anyx.serving.settings import CEILINGS, Settings
    from anyx.serving.sockets import listening

    place, values = options.first_word(model, str(options.MODEL), overrides)
    keys = keys_of(api_key or (), os.environ.get("ANYX_API_KEYS"))
    if not keys and not no_key and host.strip("[]") not in LOOPBACK:
        told = "give --api-key, or ANYX_API_KEYS in the environment, or --no-key to let in whoever comes"
        raise ValueError(f"--host {host}: others reach this address, and no API key is set; {told}")
    if keys and no_key:
        raise ValueError("--no-key: keys are set too, by --api-key or ANYX_API_KEYS; give one or the other")
    bounds = amounts(most or (), ("tokens", *CEILINGS))
    if max_tokens is not None and "tokens" in bounds:
        raise ValueError(f"--max-tokens {max_tokens}: --most tokens={bounds['tokens']} is given too; they are the same")
    tokens = int(bounds.pop("tokens", max_tokens or 1024))
    settings = Settings(
        name=name or called(Path(place)),
        keys=keys,
        hosts=names(host, allow_host or ()),
        timeout=timeout,
        tokens=tokens,
        ceilings={**CEILINGS, **bounds},
        body=int(max_body * 2**20),
        expiry=expiry,
        kept=int(keep * 2**20),
        asks=asks(ask or []),
    )
    bound = listening(host, port)
    intake = Intake(Bounds(hosts=tuple(fetch_from or ())))
    Thread(target=intake.start, daemon=True).start()  # its worker imports what it needs while the model is loaded
    loaded = loading.load_model(Path(place), loading.Loading(device, dtype, offload, quantize), values)
    if unknown := [key for key in settings.asks if key not in loaded.outputs]:
        raise ValueError(
            f"--ask {unknown[0]}: the outputs of this model are {', '.join(loaded.outputs) or 'text only'}"
        )
    with console.status("loading encoders and decoders"):
        for port_ in loaded.outputs.values():
            _ = port_.decoder, port_.projector
        for one in loaded.inputs.values():
            _ = loaded.encoders[one.encoder]
    with intake, Engine(loaded, most=max_batch, window=window, queue=queue) as engine:
        running = Running(application(engine, settings, intake=intake), bound, grace=grace, connections=max_connections)

        def ready() -> None:
            console.print(f"{settings.name} on {running.url}/v1", markup=False, highlight=False, soft_wrap=True)
            if not settings.keys and host.strip("[]") not in LOOPBACK:
                console.print("no API key is wanted: whoever reaches this address may ask", style="yellow")

        running.run(ready)


def called(path: Path) -> str:
    """A model's name: its folder's, or the folder's above one that is called only "model"."""
    whole = path.resolve()
    return whole.parent.name if whole.name == "model" else whole.name


def keys_of(given: Sequence[str], environment: str | None) -> tuple[str, ...]:
    """The keys of --api-key and ANYX_API_KEYS; ValueError for a blank one, which lets in whoever sends none."""
    listed = {"--api-key": [*given], "ANYX_API_KEYS": [] if environment is None else environment.split(",")}
    for source, keys in listed.items():
        if not all(key.strip() for key in keys):
            raise ValueError(f"{source}: a blank key was given; say a key, or leave {source} out altogether")
    return tuple(key.strip() for keys in listed.values() for key in keys)


def asks(given: list[str]) -> dict[str, str]:
    """`--ask image="Draw {prompt}."` by output key."""
    found = {}
    for one in given:
        key, sign, words = one.partition("=")
        if not sign:
            raise ValueError(f"--ask {one!r} is not of the form KEY=WORDS")
        found[key] = words
    return found
