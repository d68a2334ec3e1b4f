"""Clients that leave, wait too long or come when the queue is full."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from live import ASKS, LONG, WORDS, Live, anyworld, live, until, user

from anyx.model import AnyX
from anyx.serving.intake import Bounds, Intake
from anyx.serving.settings import Settings


@pytest.fixture(scope="module")
def model() -> AnyX:
    return anyworld()


@pytest.fixture
def narrow(model: AnyX) -> Iterator[Live]:
    """One request at a time, and none waits."""
    with live(model, Settings(name="anyworld", asks=ASKS), most=1, queue=0) as found:
        yield found


def film(stream: bool) -> dict[str, object]:
    """A request that takes seconds."""
    return {"model": "anyworld", "messages": user(f"animate {WORDS}"), "stream": stream, "decode": LONG}


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_place(narrow: Live, stream: bool) -> None:
    with (
        httpx.Client(base_url=narrow.url, timeout=1.0) as http,
        http.stream("POST", "/v1/chat/completions", json=film(stream))
        if stream
        else pytest.raises(httpx.ReadTimeout) as reply,
    ):
        if stream:
            assert any("content" in line for line, _ in zip(reply.iter_lines(), range(3), strict=False))
            (job,) = narrow.engine.alive
        else:
            http.post("/v1/chat/completions", json=film(stream))
    until(lambda: not narrow.engine.alive, 3)
    if stream:
        assert job.watch.cancelled
    assert narrow.ask("hi.").choices[0].message.content


def test_a_full_queue_is_told_with_when_to_come_again(narrow: Live) -> None:
    with narrow.http().stream("POST", "/v1/chat/completions", json=film(True)):
        with pytest.raises(openai.RateLimitError) as full:
            narrow.ask("hi.")
        assert full.value.code == "queue_full"
        assert int(full.value.response.headers["Retry-After"]) >= 1
    until(lambda: not narrow.engine.alive, 3)
    narrow.ask("hi.")
    assert narrow.measured("anyx_requests_taken") == 0


def test_a_reply_that_takes_too_long_ends(model: AnyX) -> None:
    with live(model, Settings(name="anyworld", timeout=0.5)) as here:
        reply = here.http().post("/v1/chat/completions", json=film(False))
        assert reply.status_code == 504
        assert reply.json()["error"]["code"] == "timeout"
        until(lambda: not here.engine.alive, 3)
        with pytest.raises(openai.APIError, match="longer than this server allows"):
            list(here.ask(f"animate {WORDS}", stream=True, extra_body={"decode": LONG}))


def test_requests_at_once_are_batched_and_answered_as_alone(model: AnyX) -> None:
    with live(model, window=0.3) as here, ThreadPoolExecutor(8) as pool:
        words = ["how are you?", "hi.", "who are you?", "good day."] * 2
        alone = {one: here.ask(one).choices[0].message.content for one in {*words}}
        before, rows = here.measured("anyx_batch_size_count"), here.measured("anyx_batch_size_sum")
        found = list(pool.map(lambda one: here.ask(one).choices[0].message.content, words))
        assert found == [alone[one] for one in words]
        assert here.measured("anyx_batch_size_sum") - rows == len(words)
        assert here.measured("anyx_batch_size_count") - before < len(words) / 2


def test_words_are_answered_while_files_are_waited_for(model: AnyX) -> None:
    """More requests than there are threads wait for a host that never answers."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=64) as silent,
        Intake(Bounds(hosts=(f"127.0.0.1:{silent.getsockname()[1]}",), private=True, workers=0)) as intake,
        live(model, intake=intake) as here,
        ThreadPoolExecutor(40) as pool,
    ):
        picture = {"type": "image_url", "image_url": f"http://127.0.0.1:{silent.getsockname()[1]}/a.png"}
        body = {"model": "anyworld", "messages": [{"role": "user", "content": [picture]}]}
        waiting = [pool.submit(here.http().post, "/v1/chat/completions", json=body) for _ in range(40)]
        until(lambda: here.server.gate.flying == len(waiting))
        assert here.ask("hi.").choices[0].message.content
        assert not any(one.done() for one in waiting)
        silent.close()
        assert {one.result().status_code for one in waiting} == {400}
