"""What strangers send, as media: read within limits, refused in one clear line that carries an HTTP status.

Everything that comes from outside passes here: files that are uploaded, data URLs, and addresses if the host allows
any. Nothing here opens a path.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from types import TracebackType

from anyx.faults import Limits, MediaError, OversizedError, within
from anyx.interfaces import Media
from anyx.media import Kind

DATA = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+)?(?:;[\w.+-]+=[^;,]*)*(?P<base64>;base64)?,", re.ASCII)


class Refused(ValueError):
    """Something sent that is not taken; `status` is what HTTP says of it: 400, 413 too large, 415 of no known kind."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Bounds:
    """What is taken: media within `limits`, decoded within `timeout` seconds; `hosts` may be fetched from."""

    limits: Limits = field(
        default_factory=lambda: Limits(bytes=2**25, pixels=2**24, seconds=120, memory=2**29, frames=256)
    )
    timeout: float = 20.0
    hosts: tuple[str, ...] = ()


class Intake:
    """Reads what is sent; of several threads at once. A context manager, or `close` it."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()

    def read(self, kind: Kind, data: bytes) -> Media:
        """A medium of a kind from the bytes of a file; `Refused` where they are too many or not that."""
        try:
            with within(self.bounds.limits):
                return kind.read(data)
        except OversizedError as error:
            raise Refused(str(error), 413) from error
        except MediaError as error:
            raise Refused(str(error), 400) from error

    def fetch(self, url: str) -> bytes:
        """What a `data:` URL holds, or an address of an allowed host; `Refused` for all else."""
        head = DATA.match(url[:256])
        if head is None:
            raise Refused(f"only data URLs are read here, but {url[:80]!r} was given")
        if not head["base64"]:
            raise Refused("a data URL of media is in base64: data:image/png;base64,...")
        try:
            return base64.b64decode(url[head.end() :], validate=True)
        except binascii.Error as error:
            raise Refused(f"the base64 of a data URL is broken: {error}") from error

    def close(self) -> None:
        """End what it runs."""

    def __enter__(self) -> Intake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
