"""Generated media by unguessable ids, for a while and within a bound of bytes."""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from anyx import durable
from anyx.reply import Media, suffix_of

TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "webp": "image/webp", "tiff": "image/tiff", "wav": "audio/wav",
    "flac": "audio/flac", "ogg": "audio/ogg", "mp4": "video/mp4",
}  # fmt: skip
UNKNOWN = "application/octet-stream"
NAME = re.compile(r"[\w-]{32}", re.ASCII)  # what token_urlsafe(24) gives: no dot and no slash, so no other file


class Kept(NamedTuple):
    """A file that can be fetched until `expires`, in seconds since 1970."""

    name: str
    data: bytes
    type: str
    suffix: str
    expires: int


class Store:
    """Files for `seconds`; the oldest go first where all are more than `bound` bytes. Of several threads.

    Servers that share a `folder` find each other's files there, and each removes its own.
    """

    def __init__(
        self,
        *,
        seconds: float = 3600,
        bound: int = 2**28,
        clock: Callable[[], float] = time.time,
        folder: Path | None = None,
    ) -> None:
        if seconds <= 0 or bound <= 0:
            raise ValueError(f"media are kept for more than 0 seconds and bytes, but {seconds} and {bound} were given")
        self.seconds, self.bound, self._clock = seconds, bound, clock
        self.size, self.folder = 0, folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._files: OrderedDict[str, Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._files)

    def keep(self, medium: Media, suffix: str | None = None) -> Kept:
        """Encode a medium, in the format that loses least unless a suffix says another, and keep it."""
        suffix = suffix or suffix_of(medium)
        kept = Kept(
            secrets.token_urlsafe(24),
            medium.to_bytes(suffix),
            TYPES.get(suffix, UNKNOWN),
            suffix,
            int(self._clock() + self.seconds),
        )
        with self._lock:
            self._tidy(len(kept.data))
            if len(kept.data) <= self.bound:
                self._files[kept.name] = kept
                self.size += len(kept.data)
                if self.folder is not None:
                    with durable.replacing(self._place(kept)) as part:
                        part.write_bytes(kept.data)
        return kept

    def get(self, name: str) -> Kept | None:
        """The file of an id; None where there is none or none any more."""
        with self._lock:
            self._tidy(0)
            return self._files.get(name) or self._shared(name)

    def _shared(self, name: str) -> Kept | None:
        """A file that another server of the folder keeps."""
        if self.folder is None or not NAME.fullmatch(name):
            return None
        for path in self.folder.glob(f"{name}.*"):
            _, expires, suffix = path.name.split(".")
            with contextlib.suppress(FileNotFoundError):  # its server removed it just now
                if int(expires) > self._clock():
                    return Kept(name, path.read_bytes(), TYPES.get(suffix, UNKNOWN), suffix, int(expires))
        return None

    def _tidy(self, coming: int) -> None:
        now = self._clock()
        while self._files:
            oldest = next(iter(self._files.values()))
            if oldest.expires > now and self.size + coming <= self.bound:
                return
            del self._files[oldest.name]
            self.size -= len(oldest.data)
            if self.folder is not None:
                self._place(oldest).unlink(missing_ok=True)

    def _place(self, kept: Kept) -> Path:
        assert self.folder is not None
        return self.folder / f"{kept.name}.{kept.expires}.{kept.suffix}"
