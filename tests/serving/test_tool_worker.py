"""A worker with real tools over loopback, asked by the client and by raw requests; and a worker that lies."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import torch
import uvicorn
from scripted import Script, add, broken, corner, invert

from anyx.agents.interfaces import Call, Gallery, Result
from anyx.agents.llava_plus import LlavaPlus, written
from anyx.agents.loop import Agent
from anyx.agents.specs import spec_of
from anyx.agents.toolbox import Toolbox
from anyx.media import Audio, Image
from anyx.serving.intake import Intake
from anyx.serving.sockets import listening
from anyx.serving.tool_client import Client, remote, tools
from anyx.serving.tool_worker import worker

PICTURE = Image((torch.arange(3 * 8 * 6) % 256).to(torch.uint8).view(3, 8, 6))


def slow() -> str:
    """Take a second."""
    time.sleep(1)
    return "late"


def sing(sound: Audio) -> Result:
    """Make a sound half as loud."""
    return Result("sung", (Audio(sound.samples / 2, sound.rate),), data={"rate": sound.rate})


@contextmanager
def served(**settings: Any) -> Iterator[str]:
    """The address of a worker that runs in a thread."""
    with Intake() as intake, listening("127.0.0.1", 0) as socket:
        app = worker(Toolbox([add, corner, invert, broken, slow, sing]), intake, **settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(bytes=20000, seconds=0.5, at_once=2) as found:
        yield found


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_remote_tool_is_as_one_here(url: str) -> None:
    here = Toolbox([add, corner, invert, broken, slow, sing])
    there = Toolbox(tools(Client(url, Intake())))
    assert there.specs == here.specs
    gallery = Gallery()
    gallery.add(PICTURE, asked=True)
    gallery.add(Audio(torch.tensor([[0.0, 0.5, -0.5]]), 8000), asked=True)
    for call in [
        Call("add", {"a": 1, "b": 2}),
        Call("corner", {"image": "<image 1>"}),
        Call("broken", {"text": "x"}),
        Call("add", {"a": "x"}),
    ]:
        assert there.run(call, gallery) == here.run(call, gallery)
    turned = there.run(Call("invert", {"image": "<image 1>"}), gallery)
    assert torch.equal(turned.media[0].pixels, 255 - PICTURE.pixels)  # type: ignore[union-attr]
    sung = there.run(Call("sing", {"sound": "<audio 1>"}), gallery)
    assert sung.data == {"rate": 8000}
    assert isinstance(sung.media[0], Audio)
    assert sung.media[0].samples[0].tolist() == pytest.approx([0, 0.25, -0.25], abs=1e-4)


def test_an_agent_uses_it(url: str) -> None:
    box = Toolbox(remote(Intake(), "plus", {"url": url, "tools": ["add"]}))
    assert list(box) == ["plus"], "one tool alone is called by the name of the node"
    script = Script(written("Add.", [Call("plus", {"a": 2})], ""), written("", [], "3"))
    assert Agent(script, box, LlavaPlus()).answer("?").value == "3"
    assert 'plus model outputs: {"text": "3"}' in script.sent[1][-1]["content"]


def test_a_call_that_takes_too_long_is_a_result(url: str) -> None:
    (tool,) = tools(Client(url, Intake()), ["slow"])
    assert Toolbox([tool]).run(Call("slow", {}), Gallery()).error == "slow did not answer within 0.5 s"


def data(**arguments: Any) -> bytes:
    return json.dumps({"arguments": arguments}).encode()


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/tools/add", b"{", {}, 400),
        ("/tools/add", b"[" * 9000, {}, 400),
        ("/tools/add", b"\xff\xfe", {}, 400),
        ("/tools/add", b"[]", {}, 400),
        ("/tools/add", data(a="x"), {}, 400),
        ("/tools/nothing", data(), {}, 404),
        ("/tools/../tools", data(), {}, 404),
        ("/tools/add", data(a=1, b=[0] * 9999), {}, 413),
        ("/tools/add", data(a=1), {"Content-Type": "text/plain"}, 415),
        ("/tools/add", data(a=1), {"Host": "evil.example"}, 403),
        ("/tools/invert", data(image="/etc/passwd"), {}, 400),
        ("/tools/invert", data(image="http://127.0.0.1/"), {}, 400),
        ("/tools/invert", data(image="<image 1>"), {}, 400),
        ("/tools/invert", data(image="data:image/png;base64,!!!"), {}, 400),
        ("/tools/invert", data(image="data:image/png;base64,AAAA"), {}, 415),
    ],
)
def test_requests_that_are_refused(url: str, path: str, body: bytes, headers: dict[str, str], status: int) -> None:
    found, said = post(f"{url}{path}", body, **headers)
    assert found == status, said
    assert post(f"{url}/tools/add", data(a=1))[1]["text"] == "2", "it still answers"


def test_no_more_calls_run_than_are_allowed(url: str) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(post(f"{url}/tools/slow", data())[0])) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {200, 503}
    assert post(f"{url}/tools/add", data(a=1))[0] == 200


def test_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_KEY", "secret-1")
    monkeypatch.setenv("OTHER_KEY", "secret-2")
    with served(key="secret-1") as url:
        assert len(tools(Client(url, Intake(), key="WORKER_KEY"))) == 6
        assert post(f"{url}/tools/add", data(a=1))[0] == 401
        for client in (Client(url, Intake()), Client(url, Intake(), key="OTHER_KEY")):
            with pytest.raises(ValueError, match=r"refused \(401\): the key is missing or wrong") as error:
                tools(client)
            assert "secret" not in str(error.value)
    for blank in ("", " "):
        with pytest.raises(ValueError, match="key: a blank one was given"), served(key=blank):
            pass
    with pytest.raises(ValueError, match="the environment variable NO_KEY is not set to a key"):
        Client(url, Intake(), key="NO_KEY")


def test_addresses_that_do_not_answer() -> None:
    with pytest.raises(ValueError, match="begins with http"):
        Client("file:///etc/passwd", Intake())
    with listening("127.0.0.1", 0) as socket:
        port = socket.getsockname()[1]
    with pytest.raises(ValueError, match="did not answer"):
        tools(Client(f"http://127.0.0.1:{port}", Intake(), timeout=2))


Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def lying(answer: Answer) -> Iterator[str]:
    """A server that answers calls as it likes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say(json.dumps([spec_of(add).plain()]).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def say(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def drip(handler: Any) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        pass


def moved(handler: Any) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://127.0.0.1:1/")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda one: one.say(b"{"), "it is no JSON"),
        (lambda one: one.say(b"[" * 5000), "it is no JSON"),
        (lambda one: one.say(b"[]"), "the worker's result cannot be read"),
        (lambda one: one.say(b'{"text": 3}'), "text and error are words"),
        (
            lambda one: one.say(b'{"media": [{"kind": "image", "url": "file:///etc/passwd"}]}'),
            "only data URLs",
        ),
        (lambda one: one.say(b'{"media": [{"kind": "exe", "url": "data:;base64,"}]}'), "cannot be read"),
        (
            lambda one: one.say(b'{"boxes": [{"word": "a", "box": [0, 0, NaN, 1], "score": 1}], "size": [1, 1]}'),
            "finite",
        ),
        (
            lambda one: one.say(b'{"boxes": [{"word": "a", "box": [0, 0, 1, 1], "score": 1}]}'),
            "the size of their picture",
        ),
        (lambda one: one.say(b" " * 200000), "answers with more than 100,000 bytes"),
        (lambda one: one.say(b'{"error": "out of order"}', 500), "refused (500): out of order"),
        (drip, "did not end its answer within 0.5 s"),
        (moved, "refused (302)"),
        (lambda one: one.connection.close(), "did not answer"),
    ],
)
def test_a_worker_that_lies_is_an_error_for_the_model(answer: Answer, said: str) -> None:
    with lying(answer) as url:
        (tool,) = tools(Client(url, Intake(), timeout=0.5, bytes=100000))
        began = time.monotonic()
        result = Toolbox([tool]).run(Call("add", {"a": 1}), Gallery(), seconds=5)
    assert said in (result.error or ""), result
    assert time.monotonic() - began < 4


def test_tools_that_a_worker_has_not(url: str) -> None:
    with pytest.raises(ValueError, match="has no tool fly; it has add, corner"):
        tools(Client(url, Intake()), ["fly"])
