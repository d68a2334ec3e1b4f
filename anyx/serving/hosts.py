"""The names that a server answers to.

A page of a stranger can have its own name lead to this machine, and then ask a server here from a visitor's browser as
if it were the page's own (DNS rebinding). What it cannot do is send another Host header than that name.
"""

from collections.abc import Collection, Iterable

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::")


def names(host: str, further: Iterable[str] = ()) -> tuple[str, ...]:
    """The names by which a server that listens on `host` is called, those of a proxy in `further`.

    () is any name: it listens on every address, and nobody said what they are called.
    """
    host, given = host.strip("[]"), tuple(name_of(name) for name in further)
    if host in EVERYWHERE and not given:
        return ()
    own = () if host in EVERYWHERE else (name_of(f"[{host}]" if ":" in host else host),)
    return tuple(dict.fromkeys((*LOOPBACK, *own, *given)))


def name_of(header: str) -> str:
    """What stands in a Host header before the port, in small letters and without brackets: "[::1]:80" is "::1"."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def answers(header: bytes, known: Collection[str]) -> bool:
    """Whether a server of these names is meant by a Host header."""
    return not known or name_of(header.decode("latin-1")) in map(str.lower, known)
