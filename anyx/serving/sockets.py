"""Where a server listens: bound before anything is loaded, so that a port that is taken is said at once."""

from __future__ import annotations

import socket


def listening(host: str, port: int) -> socket.socket:
    """A bound socket at which callers may wait already; port 0 is any that is free. OSError where it cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio switches Nagle's delay of 40 ms off only where the protocol is named
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host.strip("[]"), port))
        made.listen(128)
    except OSError as error:
        made.close()
        raise OSError(f"--host {host} --port {port}: {error.strerror}") from error
    return made
