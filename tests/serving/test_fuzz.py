"""Spoilt files and requests through every way in: each is answered, in time, with 2xx or a clear 4xx."""

from __future__ import annotations

import base64
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from corpus import drawn, files, mutated, odd
from live import Live, anyworld, data_url, live
from scripted import invert
from starlette.testclient import TestClient
from test_tool_worker import sing

from anyx.agents.interfaces import Result
from anyx.agents.toolbox import Toolbox
from anyx.faults import Limits
from anyx.media import MEDIA, Image, Video
from anyx.serving.intake import Bounds, Intake, Refused
from anyx.serving.tool_worker import worker

TIME = 6.0  # seconds that one file may take to decode
GROWTH = 400 * 2**20  # bytes that this process may grow by
BOUNDS = Bounds(Limits(bytes=2**22, pixels=2**20, seconds=20, memory=2**27, frames=16), timeout=TIME, workers=1)
PARTS = {
    "image_url": lambda url: {"type": "image_url", "image_url": {"url": url}},
    "input_image": lambda url: {"type": "input_image", "image_url": url},
    "input_audio": lambda url: {"type": "input_audio", "input_audio": {"data": url.partition(",")[2]}},
    "audio_url": lambda url: {"type": "audio_url", "audio_url": {"url": url}},
    "video_url": lambda url: {"type": "video_url", "video_url": {"url": url}},
    "video": lambda url: {"type": "video", "video": url},
}
TOOLS = {"invert": ("image", "image"), "sing": ("audio", "sound"), "still": ("video", "clip")}
BODIES: dict[str, Any] = {
    "/v1/chat/completions": {
        "model": "anyworld", "max_tokens": 2, "seed": 1, "stop": ["x"], "temperature": 0.5,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi <Image>/etc/passwd</Image>"}]}],
    },
    "/v1/images/generations": {
        "model": "anyworld", "prompt": "one red circle on the left.", "size": "16x16", "decode": {"steps": 1}
    },
    "/v1/audio/speech": {"model": "anyworld", "input": "one red circle.", "voice": "x", "decode": {"steps": 1}},
}  # fmt: skip


@pytest.fixture(scope="module")
def intake() -> Iterator[Intake]:
    with Intake(BOUNDS) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def here(intake: Intake) -> Iterator[Live]:
    with live(anyworld(), intake=intake) as found:
        yield found


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def still(clip: Video) -> Result:
    """Show the first picture of a clip."""
    return Result("shown", (Image(clip.frames[0]),))


def ways(
    intake: Intake, http: httpx.Client, tools: TestClient, corpus: dict[str, list[bytes]]
) -> list[Callable[[random.Random], str]]:
    """Every way in: each sends something spoilt and says what became of it."""

    def read(chance: random.Random) -> str:
        name = chance.choice(list(MEDIA))
        try:
            intake.read(MEDIA[name], mutated(chance, corpus, name))
        except Refused as refused:
            if refused.status not in (400, 413, 415) or not str(refused):
                raise
            return f"refused {refused.status}"
        return f"read {name}"

    def post(path: str, content: bytes) -> str:
        reply = http.post(path, content=content, headers={"Content-Type": "application/json"})
        assert reply.status_code == 200 or 400 <= reply.status_code < 500, (reply.text, content[:3000])
        if reply.status_code != 200:
            assert reply.json()["error"]["message"]
        return f"{path} {reply.status_code}"

    def part(chance: random.Random) -> str:
        name = chance.choice(list(PARTS))
        kind = next(kind for kind in MEDIA if kind in name)
        url = "data:image/png;base64," + base64.b64encode(mutated(chance, corpus, kind)).decode()
        sent = PARTS[name](url)
        messages = [{"role": "user", "content": [sent, {"type": "text", "text": "what is this?"}]}]
        return post(
            "/v1/chat/completions",
            json.dumps({"model": "anyworld", "messages": messages, "max_tokens": 2}).encode(),
        )

    def request(chance: random.Random) -> str:
        path = chance.choice(list(BODIES))
        content = json.dumps(odd(chance, BODIES[path])).encode()
        return post(path, mutated(chance, {"body": [content]}, "body") if chance.random() < 0.3 else content)

    def tool(chance: random.Random) -> str:
        name = chance.choice(list(TOOLS))
        kind, argument = TOOLS[name]
        url = data_url(mutated(chance, corpus, kind), f"{kind}/png")
        body = odd(chance, {"arguments": {argument: url}}) if chance.random() < 0.2 else {"arguments": {argument: url}}
        content = json.dumps(body).encode()
        if chance.random() < 0.1:
            content = mutated(chance, {"body": [content]}, "body")
        reply = tools.post(f"/tools/{name}", content=content, headers={"Content-Type": "application/json"})
        assert reply.status_code == 200 or 400 <= reply.status_code < 500, (reply.text, content[:3000])
        return f"{'tool' if reply.json()['error'] is None else 'no tool'} {reply.status_code}"

    return [read, read, part, part, request, tool]


def test_a_temperature_near_zero_is_answered(here: Live) -> None:
    """schemathesis found that probabilities became NaN."""
    reply = here.ask("how are you?", temperature=5e-324, top_p=5e-324, extra_body={"repetition_penalty": 0.01})
    assert reply.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_whatever_is_sent_is_answered(here: Live, intake: Intake, count: int) -> None:
    corpus = files()
    became: Counter[str] = Counter()
    longest, began = 0.0, time.monotonic()
    tools = worker(Toolbox([invert, sing, still]), intake, hosts=("testserver",))
    with here.http() as http, TestClient(tools) as client:
        every = ways(intake, http, client, corpus)
        before = 0

        def one(chance: random.Random) -> None:
            nonlocal longest, before
            if sum(became.values()) == count // 10:
                before = resident()
            start = time.monotonic()
            became[chance.choice(every)(chance)] += 1
            longest = max(longest, time.monotonic() - start)

        drawn(count, one)
        print(f"{count} inputs in {time.monotonic() - began:.0f} s, the longest {longest:.2f} s, {dict(became)}")
        print(f"memory grew by {(resident() - before) / 2**20:.0f} MiB")
        assert longest < TIME + 6, "nothing hangs"
        assert resident() - before < GROWTH
        assert sum(became.values()) == count
        assert http.get("/healthz").json() == {"status": "ok"}
        assert client.get("/tools").status_code == 200
        reply = here.ask("how are you?")
    assert reply.choices[0].message.content == "i am well."
    said = {word for became_ in became for word in became_.split()}
    assert {"200", "400", "413" if count > 200 else "400", "415", "refused", "tool"} <= said
