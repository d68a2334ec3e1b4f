"""What strangers send, as media: read within limits, refused in one clear line that carries an HTTP status.

Everything that comes from outside passes here: files that are uploaded, data URLs, and addresses if the host allows
any. Nothing here opens a path. Files are told apart by what is in them (`sniffing.py`) and decoded by worker processes
(`crew.py`) that can open no file and no connection, and whose time and memory are limited.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import TracebackType

from anyx.faults import Limits, MediaError, OversizedError, within
from anyx.interfaces import Media
from anyx.media import Audio, Kind, Video
from anyx.serving.crew import Crew
from anyx.serving.fetching import data_of, download
from anyx.serving.refusing import Refused as Refused
from anyx.serving.sniffing import TAKEN, sniff


@dataclass(frozen=True)
class Bounds:
    """What is taken: media within `limits`, sound within `rates` in Hz, read within `timeout` seconds.

    `hosts` may be fetched from ("example.org", "*.example.org", "example.org:8080"), if they are on the public
    internet or `private` is set. `workers` is how many processes decode; with 0 this one does, within the limits
    but without the time, for files that are trusted.
    """

    limits: Limits = field(
        default_factory=lambda: Limits(bytes=2**25, pixels=2**24, seconds=120, memory=2**29, frames=256)
    )
    timeout: float = 20.0
    hosts: tuple[str, ...] = ()
    private: bool = False
    rates: tuple[int, int] = (1000, 384_000)
    workers: int = 2


class Intake:
    """Reads what is sent; of several threads at once. A context manager, or `close` it."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        workers = self.bounds.workers if os.name == "posix" else 0
        self._crew = Crew(workers, self.bounds.timeout, self.bounds.limits) if workers else None

    def start(self) -> None:
        """Start a worker now, which takes seconds, rather than with the first file."""
        if self._crew is not None:
            self._crew.start()

    def read(self, kind: Kind, data: bytes) -> Media:
        """A medium of a kind from the bytes of a file; `Refused` where they are too many or not that."""
        most = self.bounds.limits.bytes
        if len(data) > most:
            raise Refused(f"{len(data):,} bytes are more than the {most:,.0f} that are taken", 413)
        if not data:
            raise Refused("it holds 0 bytes")
        if kind in TAKEN and (found := sniff(data)) not in TAKEN[kind]:
            known = ", ".join(TAKEN[kind])
            raise Refused(f"{kind.__name__} is read from {known}, but this is {found or 'none of them'}", 415)
        return self._held(self._crew.decode(kind, data) if self._crew is not None else self._here(kind, data))

    def fetch(self, url: str) -> bytes:
        """What a `data:` URL holds, or an address of an allowed host; `Refused` for all else."""
        bounds = self.bounds
        if url[:5] == "data:":
            return data_of(url, bounds.limits.bytes)
        most = bounds.limits.bytes
        return download(url, bounds.hosts, most=most, timeout=bounds.timeout, private=bounds.private)

    def _here(self, kind: Kind, data: bytes) -> Media:
        """A medium, decoded by this process."""
        try:
            with within(self.bounds.limits):
                return kind.read(data)
        except OversizedError as error:
            raise Refused(str(error), 413) from error
        except MediaError as error:
            raise Refused(str(error)) from error

    def _held(self, medium: Media) -> Media:
        """The same medium, if its sound is at a rate that one can work with."""
        sound = medium.audio if isinstance(medium, Video) else medium
        least, most = self.bounds.rates
        if isinstance(sound, Audio) and not least <= sound.rate <= most:
            raise Refused(f"sound is read at {least:,} to {most:,} Hz, but this is at {sound.rate:,}")
        return medium

    def close(self) -> None:
        """End the workers."""
        if self._crew is not None:
            self._crew.close()

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
