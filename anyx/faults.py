"""What is wrong with bad media, and how large good media may be: what skipped samples are counted by.

A reader of many files raises `MediaError`, or one of the classes below it, whose `fault` says what is wrong. `Limits`
protect the machine: a file is held against them by its header, before it is decoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from PIL.Image import DecompressionBombError

FAULTS = ("corrupt", "missing", "truncated", "oversized", "zero-length", "unfit")
GONE = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)


class MediaError(ValueError):
    """Media that is missing, corrupt or not what was asked for."""

    fault = "corrupt"


class MissingError(MediaError):
    """Media that is not there."""

    fault = "missing"


class TruncatedError(MediaError):
    """A file that ends before what it announces."""

    fault = "truncated"


class OversizedError(MediaError):
    """Media beyond a limit."""

    fault = "oversized"


class EmptyError(MediaError):
    """A file of no bytes, media of no frames or samples, a text of no characters."""

    fault = "zero-length"


@dataclass(frozen=True)
class Limits:
    """How large media may be; what is larger is an `OversizedError`.

    `bytes` of a file; `pixels` of a picture or frame; `seconds` of sound or film; `memory` in bytes of what a file
    decodes to. Of films with more than `frames`, that many are kept, from the middles of equal spans; fewer where
    `memory` holds no more.
    """

    bytes: float = 2**31
    pixels: float = 1e8
    seconds: float = 3600.0
    memory: float = 2**32
    frames: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"limits.{name} is a number > 0, but {value} was given")

    def hold(self, name: str, value: float) -> None:
        """Raise where `value` is over the limit of that name."""
        if value > (allowed := getattr(self, name)):
            what = "bytes of memory" if name == "memory" else name
            raise OversizedError(f"{value:,.0f} {what} are more than the {allowed:,.0f} that limits.{name} allows")


_limits: ContextVar[Limits] = ContextVar("limits", default=Limits())  # noqa: B039  (it is frozen)


def limits() -> Limits:
    """Those that hold here."""
    return _limits.get()


@contextmanager
def within(given: Limits) -> Iterator[None]:
    """Hold whatever is read inside to these limits."""
    token = _limits.set(given)
    try:
        yield
    finally:
        _limits.reset(token)


def fault_of(error: BaseException) -> str:
    """Which of `FAULTS` an error and what caused it are about; "unfit": readable, but no record for this use."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    said = [link.fault for link in chain if isinstance(link, MediaError)]
    if named := [fault for fault in said if fault != MediaError.fault]:
        return named[-1]
    if any(isinstance(link, GONE) for link in chain):
        return MissingError.fault
    if any(isinstance(link, DecompressionBombError) for link in chain):
        return OversizedError.fault
    if any(isinstance(link, EOFError) or "truncated" in str(link).lower() for link in chain):
        return TruncatedError.fault
    broken = (json.JSONDecodeError, UnicodeError, OSError, RecursionError)
    return MediaError.fault if said or any(isinstance(link, broken) for link in chain) else "unfit"
