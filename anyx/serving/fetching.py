"""Addresses that strangers name: what a data URL holds, and what the hosts on a list serve, within limits.

A host is looked up once and the connection goes to the very address that was checked, so that a name cannot mean
another machine a moment later. Addresses that are not of the public internet are refused, each redirection is checked
as the first address was, and no proxy of the environment is used.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import SplitResult, urljoin, urlsplit

from anyx.serving.refusing import Refused

# A recorder's type has a comma that nobody quotes: data:video/webm;codecs=vp8,opus;base64,...
DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;]*)*(?P<base64>;base64)?,", re.ASCII)
HEAD = 256  # letters in which a data URL says what it is
LENGTH = 2048  # letters of an address
HOPS = 3  # redirections that are followed
PIECE = 2**16
NAT = ipaddress.ip_network("64:ff9b::/96")
PORTS = {"http": 80, "https": 443}
AGENT = {"User-Agent": "anyx", "Accept": "image/*, audio/*, video/*", "Accept-Encoding": "identity"}


def data_of(url: str, most: float) -> bytes:
    """What a data URL holds: at most `most` bytes."""
    head = DATA.match(url[:HEAD])
    if head is None or not head["base64"]:
        raise Refused("a data URL of media is in base64: data:image/png;base64,...")
    if (len(url) - head.end()) * 3 // 4 - 2 > most:
        raise Refused(f"a data URL holds more than the {most:,.0f} bytes that are taken", 413)
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"the base64 of a data URL is broken: {error}") from None


def download(url: str, hosts: Sequence[str], *, most: float, timeout: float, private: bool = False) -> bytes:
    """What an address of one of `hosts` serves: at most `most` bytes, within `timeout` seconds.

    An entry of `hosts` is a name, "*.name" for those below it, or name:port. `private` allows addresses that are not
    of the public internet.
    """
    deadline = time.monotonic() + timeout
    for _ in range(HOPS + 1):
        parts, host, port = checked(url, hosts)
        address = resolved(host, port, private=private)
        further, data = _asked(parts, host, port, address, most, deadline)
        if further is None:
            return data
        url = urljoin(url, further)
    raise Refused(f"an address leads on more than {HOPS} times")


def checked(url: str, hosts: Sequence[str]) -> tuple[SplitResult, str, int]:
    """The parts of an address, its host and its port; `Refused` where it is not on the list."""
    allowed = ", ".join(hosts) or "none"
    if not hosts or len(url) > LENGTH or not url.isascii() or not url.isprintable() or " " in url:
        raise Refused(f"only data URLs and addresses of these hosts are read here: {allowed}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("that is no address of the web") from None
    host = (parts.hostname or "").removesuffix(".")
    if parts.scheme not in PORTS or parts.username is not None or "\\" in url or not host:
        raise Refused("an address begins with http:// or https:// and a host")
    usual = PORTS[parts.scheme]
    for entry in hosts:
        name, _, wanted = entry.lower().partition(":")
        fits = host.endswith(name[1:]) if name.startswith("*.") else host == name
        if fits and (port or usual) == (int(wanted) if wanted else usual):
            return parts, host, port or usual
    raise Refused(f"{host[:80]!r} at port {port or usual} is not a host that is read from: {allowed}")


def resolved(host: str, port: int, *, private: bool = False) -> str:
    """The address of a host; `Refused` if any of its addresses is not of the public internet."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(f"the host {host[:80]!r} is not found") from None
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses or not (private or all(public(address) for address in addresses)):
        raise Refused(f"the host {host[:80]!r} is not on the public internet")
    return addresses[0]


def public(text: str) -> bool:
    """Whether an address is of the public internet; one that stands for another is what it stands for."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address in NAT:
            return public(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if not all(public(str(other)) for other in inner if other is not None):
            return False
        if address.is_site_local or address.packed[:12] == bytes(12):
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _asked(
    parts: SplitResult, host: str, port: int, address: str, most: float, deadline: float
) -> tuple[str | None, bytes]:
    """Where one is sent on to, or what is served."""
    left = max(deadline - time.monotonic(), 0.001)
    connection = http.client.HTTPConnection(host, port, timeout=left)
    ended = threading.Event()
    used: list[socket.socket] = []

    def end() -> None:
        ended.set()
        for line in used:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    clock = threading.Timer(left, end)  # a server that says a letter now and then would outlast any timeout
    clock.daemon = True
    clock.start()
    try:
        used.append(socket.create_connection((address, port), left))
        if parts.scheme == "https":
            used.append(ssl.create_default_context().wrap_socket(used[0], server_hostname=host))
        connection.sock = used[-1]
        connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), headers=AGENT)
        response = connection.getresponse()
        if response.status in (301, 302, 303, 307, 308) and response.getheader("Location"):
            return response.getheader("Location"), b""
        if response.status != 200:
            raise Refused(f"{host} answers with {response.status}")
        pieces, size = [], 0
        while piece := response.read(PIECE):
            size += len(piece)
            if size > most:
                raise Refused(f"{host} sends more than the {most:,.0f} bytes that are taken", 413)
            pieces.append(piece)
        if ended.is_set():
            raise TimeoutError
        return None, b"".join(pieces)
    except (OSError, http.client.HTTPException) as error:
        said = (
            "in time" if ended.is_set() or isinstance(error, TimeoutError) else f"as it should: {type(error).__name__}"
        )
        raise Refused(f"{host} does not answer {said}") from None
    finally:
        clock.cancel()
        connection.close()
