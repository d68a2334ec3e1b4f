"""The server in many replicas behind one address, by Ray Serve.

    python -m pip install "ray[serve]"
    export MODEL=experiments/anyworld/model REPLICAS=2 PYTHONPATH=experiments/serving
    serve run ray_serve:app

Ray sends each request to the replica that has least to do; every replica has a model, an engine and a queue of its own.
Media that a reply names by id lie in MEDIA, a folder that all replicas share: on several machines a network folder.
Keys of clients come from ANYX_API_KEYS, as for `anyx serve`; REPLICAS, CPUS, GPUS say how many replicas there are and
what each takes.
"""

import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ray import serve

MODEL = os.environ.get("MODEL", "experiments/emoji/model")
REPLICAS = int(os.environ.get("REPLICAS", "2"))
CPUS, GPUS = float(os.environ.get("CPUS", "1")), float(os.environ.get("GPUS", "0"))
MEDIA = Path(os.environ.get("MEDIA", Path(tempfile.gettempdir()) / f"anyx-media-{os.getuid()}"))

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def replica() -> Callable[[Any, Receive, Send], Awaitable[None]]:
    """One replica's ASGI application; called in its process."""
    from anyx import AnyX
    from anyx.commands.serve import called, keys_of
    from anyx.serving.app import application
    from anyx.serving.engine import Engine
    from anyx.serving.settings import Settings
    from anyx.serving.store import Store

    settings = Settings(name=called(Path(MODEL)), keys=keys_of((), os.environ.get("ANYX_API_KEYS")))
    engine = Engine(AnyX.from_pretrained(MODEL, device="cuda" if GPUS else "cpu"))
    store = Store(seconds=settings.expiry, bound=settings.kept, folder=MEDIA)
    return application(engine, settings, store=store).gate


@serve.deployment(num_replicas=REPLICAS, ray_actor_options={"num_cpus": CPUS, "num_gpus": GPUS})
@serve.ingress(replica)
class Replica:
    """Answers what Ray sends it."""


app = Replica.bind()
