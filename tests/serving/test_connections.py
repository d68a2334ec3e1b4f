"""Many connections: those that lie idle give way, those that work do not, and slow headers are not waited for."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest
import tiny
from live import Live, live, until

from anyx.serving.settings import Settings

MOST = 3


@pytest.fixture(scope="module")
def here() -> Iterator[Live]:
    with live(tiny.anyx(), Settings(name="tiny"), connections=MOST) as found:
        yield found


def connected(here: Live, sent: bytes) -> socket.socket:
    """A connection that has sent something."""
    place = urlsplit(here.url)
    made = socket.create_connection((place.hostname, place.port), timeout=30)
    made.sendall(sent)
    return made


def working(here: Live, stack: ExitStack) -> list[socket.socket]:
    """As many requests as there may be, whose bodies are not all there."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {urlsplit(here.url).netloc}\r\nContent-Length: 9\r\n\r\n{{"
    found = [stack.enter_context(connected(here, head.encode())) for _ in range(MOST)]
    until(lambda: here.server.gate.held == MOST)
    return found


def test_one_too_many_is_told_so_and_those_at_work_go_on(here: Live) -> None:
    with ExitStack() as stack:
        found = working(here, stack)
        reply = here.http().get("/healthz")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "too_many_connections")
        assert (reply.headers["retry-after"], reply.headers["connection"]) == ("1", "close")
        for one in found:
            one.sendall(b"        ")
            assert one.recv(65536).startswith(b"HTTP/1.1 400")
    until(lambda: not here.running.uvicorn.server_state.connections)
    assert here.http().get("/healthz").status_code == 200


def test_idle_ones_give_way(here: Live) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(here.http()) for _ in range(4 * MOST)]
        for client in (*clients, *clients):  # the second time most find that theirs was closed, and open another
            try:
                assert client.get("/healthz").status_code == 200
            except httpx.TransportError:  # it was closed while the request was on its way
                assert client.get("/healthz").status_code == 200
        assert len(here.running.uvicorn.server_state.connections) <= MOST + 1
    until(lambda: not here.running.uvicorn.server_state.connections)


@pytest.mark.parametrize("first", [b"", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"])
def test_headers_that_drip_are_not_waited_for(first: bytes) -> None:
    with live(tiny.anyx(), Settings(name="tiny", patience=1.0)) as here, connected(here, first) as one:
        if first:
            assert one.recv(65536).startswith(b"HTTP/1.1 200")
        ends = time.monotonic() + 30
        try:
            one.sendall(b"GET /healthz HTTP/1.1\r\nX: ")
            one.settimeout(0.1)
            while time.monotonic() < ends:
                one.sendall(b"x")
                try:
                    if one.recv(65536) == b"":
                        break
                except TimeoutError:
                    continue
        except ConnectionError:  # it is closed, with a drop unread
            pass
        assert time.monotonic() < ends
        until(lambda: not here.running.uvicorn.server_state.connections)
