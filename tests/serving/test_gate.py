"""Who passes the gate, and how much: keys, names of the host, sizes and slowness of bodies."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest
import tiny
from live import WORDS, Live, anyworld, live, until, user

from anyx.serving.settings import Settings

SETTINGS = Settings(
    name="tiny",
    keys=("first", "second"),
    hosts=("127.0.0.1", "models.example.org"),
    body=4096,
    bodies=6000,
    patience=0.5,
)


@pytest.fixture(scope="module")
def here() -> Iterator[Live]:
    with live(tiny.anyx(), SETTINGS) as found:
        yield found


def test_a_key_is_wanted(here: Live) -> None:
    assert here.client("first").models.list().data[0].id == "tiny"
    assert here.client("second").models.list().data
    for key in ("third", "firs", "firstfirst"):
        with pytest.raises(openai.AuthenticationError) as refused:
            here.client(key).models.list()
        assert refused.value.code == "invalid_api_key"
    http = here.http()
    assert http.get("/metrics").status_code == http.get("/v1/models").status_code == 401
    assert http.get("/v1/models", headers={"Authorization": "Basic first"}).status_code == 401
    assert http.get("/metrics", headers={"Authorization": "Bearer first"}).status_code == 200
    assert http.get("/healthz").status_code == http.get("/openapi.json").status_code == 200


def test_a_page_cannot_reach_it_by_a_name_of_its_own(here: Live) -> None:
    http = here.http()
    assert http.get("/healthz", headers={"Host": "evil.example"}).status_code == 403
    assert http.get("/healthz", headers={"Host": "models.example.org:80"}).status_code == 200


def posted(here: Live, length: int, *, chunked: bool) -> tuple[int, dict[str, dict[str, str]]]:
    """A body of so many bytes, as one or in chunks whose sum is not told."""
    connection = http.client.HTTPConnection(urlsplit(here.url).netloc, timeout=30)
    chunks = [b" " * 1024] * (length // 1024)
    headers = {"Authorization": "Bearer first", "Content-Type": "application/json"}
    body = iter(chunks) if chunked else b"".join(chunks)
    connection.request("POST", "/v1/chat/completions", body, headers, encode_chunked=chunked)
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_body_is_refused_while_it_is_read(here: Live, chunked: bool) -> None:
    status, body = posted(here, 5 * 1024, chunked=chunked)
    assert status == 413
    assert body["error"]["code"] == "body_too_large"
    assert posted(here, 4 * 1024, chunked=chunked)[0] == 400  # small enough to be read, and no JSON
    until(lambda: here.server.gate.held == 0)


def started(here: Live, sent: bytes) -> socket.socket:
    """A connection that has sent a part of a body of 4000 bytes."""
    place = urlsplit(here.url)
    connection = socket.create_connection((place.hostname, place.port), timeout=30)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer first\r\n"
    connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 4000\r\n\r\n".encode() + sent)
    return connection


def test_a_slow_body_is_not_waited_for(here: Live) -> None:
    with started(here, b"{") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 408")


def test_bodies_in_work_are_bounded_together(here: Live) -> None:
    with started(here, b" " * 3999):
        until(lambda: here.server.gate.held == 3999)
        assert posted(here, 3 * 1024, chunked=False)[0] == 429
    until(lambda: here.server.gate.held == 0)


def test_a_client_that_reads_nothing_is_not_waited_for() -> None:
    settings = Settings(name="anyworld", timeout=2.0)
    with live(anyworld(), settings) as here, socket.socket() as deaf:
        for one, option in ((here.running.bound, socket.SO_SNDBUF), (deaf, socket.SO_RCVBUF)):
            one.setsockopt(socket.SOL_SOCKET, option, 4096)
        place = urlsplit(here.url)
        deaf.connect((place.hostname, place.port))
        asked = {"model": "anyworld", "messages": user(f"draw {WORDS}"), "n": 8, "stream": True, "media": "inline"}
        body = json.dumps(asked | {"decode": {"image": {"size": [128, 128], "steps": 1}}})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
        deaf.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: here.server.gate.held == len(body))
        until(lambda: here.server.gate.flying == here.server.gate.held == 0)
