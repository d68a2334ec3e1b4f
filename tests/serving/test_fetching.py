"""Addresses: data URLs within their size, listed hosts alone, public addresses alone, in time."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from anyx.faults import Limits
from anyx.serving import fetching
from anyx.serving.intake import Bounds, Intake, Refused


class Host(BaseHTTPRequestHandler):
    """Serves a file, one without end, one that drips, and ways to elsewhere."""

    def do_GET(self) -> None:
        ways = {"/near": "/file", "/far": "http://169.254.169.254/latest/meta-data", "/disk": "file:///etc/passwd"}
        ways |= {"/round": "/round"}
        if self.path in ways:
            self.send_response(302)
            self.send_header("Location", ways[self.path])
            self.end_headers()
            return
        self.send_response(404 if self.path == "/nothing" else 200)
        self.end_headers()
        try:
            self.wfile.write(b"pixels")
            while self.path in ("/endless", "/drip"):
                self.wfile.write(bytes(2**16 if self.path == "/endless" else 1))
                time.sleep(0.0 if self.path == "/endless" else 0.05)
        except OSError:
            return

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def intake(port: int, *, private: bool = True, timeout: float = 5.0) -> Intake:
    hosts = (f"127.0.0.1:{port}", f"localhost:{port}", f"*.localhost:{port}")
    return Intake(Bounds(Limits(bytes=2**20), timeout=timeout, hosts=hosts, private=private, workers=0))


def test_a_listed_host_is_read_from_and_only_if_its_address_may_be(port: int) -> None:
    assert intake(port).fetch(f"http://localhost:{port}/file?a=b") == b"pixels"
    assert intake(port).fetch(f"http://LOCALHOST.:{port}/near") == b"pixels"
    with pytest.raises(Refused, match="not on the public internet"):
        intake(port, private=False).fetch(f"http://localhost:{port}/file")


@pytest.mark.parametrize(
    ("path", "said", "status"),
    [
        ("far", "'169.254.169.254' at port 80 is not a host", 400),
        ("disk", "begins with http", 400),
        ("round", "leads on more than 3 times", 400),
        ("nothing", "answers with 404", 400),
        ("endless", "more than the 1,048,576 bytes", 413),
    ],
)
def test_ways_to_elsewhere_and_without_end_are_refused(port: int, path: str, said: str, status: int) -> None:
    with pytest.raises(Refused, match=said) as error:
        intake(port).fetch(f"http://localhost:{port}/{path}")
    assert error.value.status == status


def test_a_host_that_drips_is_left_in_time(port: int) -> None:
    begin = time.monotonic()
    with pytest.raises(Refused, match="does not answer in time"):
        intake(port, timeout=0.5).fetch(f"http://localhost:{port}/drip")
    assert time.monotonic() - begin < 2


def test_no_proxy_of_the_environment_is_asked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert intake(port).fetch(f"http://127.0.0.1:{port}/file") == b"pixels"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://localhost/a",
        "gopher://localhost/",
        "//localhost/a",
        "/etc/passwd",
        "localhost",
        "javascript:alert(1)",
        "http://example.org/",
        "http://user@localhost:{port}/",
        "http://localhost:{port}@example.org/",
        "http://localhost:1/",
        "http://2130706433:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://0x7f.1:{port}/",
        "http://127.1:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://evil-localhost:{port}/",
        "http://localhost.evil:{port}/",
        "http://localhost:{port}\\@evil/",
        "http://localhost:{port}x/",
        "http://localhost:99999/",
        "http://%6cocalhost:{port}/",
        "http://[/",
        "https://localhost",
        "http://loc\u0430lhost:{port}/",
        "http:///a",
    ],
)
def test_other_spellings_and_schemes_are_refused(port: int, url: str) -> None:
    with pytest.raises(Refused):
        intake(port).fetch(url.format(port=port) if "{" in url else url)


@pytest.mark.parametrize("hosts", [(), ("localhost",)])
def test_by_default_no_address_is_read_and_line_breaks_never(hosts: tuple[str, ...]) -> None:
    for url in ("http://localhost/\r\nHost: evil", "http://example.org/a.png"):
        with pytest.raises(Refused), Intake(Bounds(hosts=hosts, workers=0)) as refusing:
            refusing.fetch(url)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((address, True) for address in ("1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101")),
        *(
            (address, False)
            for address in [
                "0.0.0.0",
                "10.0.0.1",
                "127.0.0.1",
                "127.1.2.3",
                "169.254.169.254",
                "172.16.0.1",
                "192.168.1.1",
                "100.64.0.1",
                "224.0.0.1",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::1",
                "fe80::1",
                "fe80::1%eth0",
                "fc00::1",
                "ff02::1",
                "::ffff:127.0.0.1",
                "::127.0.0.1",
                "64:ff9b::7f00:1",
                "2002:7f00:1::",
                "192.0.2.1",
                "198.18.0.1",
                "fec0::1",
                "2001:db8::1",
                "nonsense",
            ]
        ),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    assert fetching.public(address) is expected


def test_one_private_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 80)) for ip in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Refused, match="public"):
        fetching.resolved("rebound.example", 80)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found[:1])
    assert fetching.resolved("rebound.example", 80) == "93.184.216.34"


def test_data_urls_are_bounded_before_they_are_decoded() -> None:
    with Intake(Bounds(Limits(bytes=100), workers=0)) as small:
        assert small.fetch("data:image/png;base64," + base64.b64encode(b"x" * 100).decode()) == b"x" * 100
        assert small.fetch("data:video/webm;codecs=vp8,opus;base64,eHg=") == b"xx", "as a recorder names it"
        with pytest.raises(Refused, match="more than the 100 bytes") as error:
            small.fetch("data:image/png;base64," + "A" * 1000)
        assert error.value.status == 413
        for url in (
            "data:image/png,abc",
            "data:",
            "data:image/png;base64,@@@",
            "data:image/png;base64,A",
            "data:;base64,é",
        ):
            with pytest.raises(Refused):
                small.fetch(url)
