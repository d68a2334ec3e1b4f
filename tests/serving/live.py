"""A real server in this process, on a port that is free, and what its tests ask of it."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openai import OpenAI

from anyx.imports import import_file
from anyx.model import AnyX
from anyx.serving.app import Server, application
from anyx.serving.engine import Engine
from anyx.serving.intake import Intake
from anyx.serving.running import Running
from anyx.serving.settings import Settings
from anyx.serving.sockets import listening

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "experiments" / "anyworld"
SCENE = {"count": "three", "colour": "red", "shape": "circle", "side": "left"}
WORDS = "three red circles on the left."
ASKS = {"image": "draw {prompt}.", "audio": "play {prompt}."}
LONG = {"video": {"steps": 200, "size": [96, 96]}}  # some twenty seconds of denoising


def anyworld() -> AnyX:
    """The vendored model, which knows 72 scenes."""
    return AnyX.from_pretrained(FOLDER / "model")


def attributes(medium: Any) -> dict[str, str]:
    """What a medium shows, read without a model."""
    found: dict[str, str] = import_file(FOLDER / "readers.py").attributes(medium)
    return found


def user(words: str) -> list[Any]:
    """A conversation of one turn."""
    return [{"role": "user", "content": words}]


def data_url(data: bytes, type: str = "image/png") -> str:
    """Bytes as a data URL."""
    return f"data:{type};base64,{base64.b64encode(data).decode('ascii')}"


@dataclass
class Live:
    """A server that answers at `url`."""

    url: str
    server: Server
    running: Running

    @property
    def engine(self) -> Engine:
        return self.server.front.engine

    def client(self, key: str = "none") -> OpenAI:
        """OpenAI's own client, which tries once."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=60)

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def ask(self, words: str, **more: Any) -> Any:
        """A chat completion."""
        return self.client().chat.completions.create(
            model=self.server.front.settings.name, messages=user(words), **more
        )

    def measured(self, name: str) -> float:
        """The sum of a metric's samples, by the name that Prometheus gives them."""
        from prometheus_client.parser import text_string_to_metric_families

        families = text_string_to_metric_families(self.http().get("/metrics").text)
        return sum(one.value for family in families for one in family.samples if one.name == name)


def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something to become true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come true in time"
        time.sleep(0.01)


@contextmanager
def live(
    model: AnyX,
    settings: Settings | None = None,
    *,
    most: int = 8,
    window: float = 0.005,
    queue: int = 64,
    intake: Intake | None = None,
    connections: int = 512,
) -> Iterator[Live]:
    """Serve a model while the block runs."""
    with Engine(model, most=most, window=window, queue=queue) as engine:
        server = application(engine, settings or Settings(name="anyworld", asks=ASKS), intake=intake)
        running = Running(server, listening("127.0.0.1", 0), grace=0.0, connections=connections)
        thread = threading.Thread(target=running.run)
        thread.start()
        try:
            until(lambda: running.started)
            yield Live(running.url, server, running)
        finally:
            running.stop()
            thread.join(30)
            assert not thread.is_alive()
