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
from corpus import files, mutated
from live import Live, anyworld, live

from anyx.faults import Limits
from anyx.media import MEDIA
from anyx.serving.intake import Bounds, Intake, Refused

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
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 1e308, "", "\x00", "\ud800", "../../etc/passwd", "<script>", "x" * 5000, [], {},
    [[]], {"type": "image", "path": "/etc/passwd"}, {"url": "file:///etc/passwd"}, [{"type": "text", "text": 5}],
)  # fmt: skip


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


def odd(chance: random.Random, body: Any) -> Any:
    """A body with one value, anywhere in it, replaced, removed or added."""
    if isinstance(body, dict) and body and chance.random() < 0.8:
        key = chance.choice(list(body))
        if chance.random() < 0.1:
            return {name: value for name, value in body.items() if name != key} | {"extra": chance.choice(ODD)}
        return body | {key: odd(chance, body[key])}
    if isinstance(body, list) and body and chance.random() < 0.8:
        place = chance.randrange(len(body))
        return [*body[:place], odd(chance, body[place]), *body[place + 1 :]]
    return chance.choice(ODD)


def ways(intake: Intake, http: httpx.Client, corpus: dict[str, list[bytes]]) -> list[Callable[[random.Random], str]]:
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

    return [read, read, part, part, request]


def test_a_temperature_near_zero_is_answered(here: Live) -> None:
    """schemathesis found that probabilities became NaN."""
    reply = here.ask("how are you?", temperature=5e-324, top_p=5e-324, extra_body={"repetition_penalty": 0.01})
    assert reply.choices[0].finish_reason in ("stop", "length")


@pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_whatever_is_sent_is_answered(here: Live, intake: Intake, count: int) -> None:
    corpus = files()
    became: Counter[str] = Counter()
    longest, began = 0.0, time.monotonic()
    with here.http() as http:
        every = ways(intake, http, corpus)
        before = 0
        for seed in range(count):
            if seed == count // 10:
                before = resident()
            chance = random.Random(seed)
            start = time.monotonic()
            try:
                became[chance.choice(every)(chance)] += 1
            except Exception as error:
                raise AssertionError(f"input {seed}: {error!r}") from error
            longest = max(longest, time.monotonic() - start)
        print(f"{count} inputs in {time.monotonic() - began:.0f} s, the longest {longest:.2f} s, {dict(became)}")
        print(f"memory grew by {(resident() - before) / 2**20:.0f} MiB")
        assert longest < TIME + 6, "nothing hangs"
        assert resident() - before < GROWTH
        assert sum(became.values()) == count
        assert http.get("/healthz").json() == {"status": "ok"}
        reply = here.ask("how are you?")
    assert reply.choices[0].message.content == "i am well."
    said = {word for became_ in became for word in became_.split()}
    assert {"200", "400", "413" if count > 200 else "400", "415", "refused"} <= said
