"""Ends before the end: a time limit, a signal, Ctrl-C. A run saves between two steps and says how to go on.

While a stage trains, a request is noted and heeded after the step; before and between, where nothing is lost (features
are written as they are computed), it is heeded at once.
"""

from __future__ import annotations

import _thread
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from anyx.training.durations import seconds_of

T = TypeVar("T")
NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # the last is what Slurm is told to send ahead of the end
ASKING = [signal.Signals[name] for name in NAMES if name in signal.Signals.__members__]


class Stopped(BaseException):
    """A run that was ended early, with everything saved. `code` is what a shell should see.

    Like KeyboardInterrupt it is no `Exception`: what catches those of broken media must not catch this.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Stop:
    """Whether a run was asked to end; `limit` is the time it has as the user wrote it, counted from now."""

    def __init__(self, limit: str | None = None) -> None:
        self.limit = limit
        self.end = time.monotonic() + seconds_of(limit) if limit is not None else None
        self.reason: str | None = None
        self.code = 0
        self.holding = False
        self.heeded = list(ASKING)

    @property
    def asked(self) -> bool:
        """Whether the run is to end."""
        if self.reason is None and self.end is not None and time.monotonic() >= self.end:
            self.reason = f"{self.limit} are over"
        return self.reason is not None

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Heed signals and the limit until the end of the block; signals in the main thread only, as Python does."""
        before = {number: signal.getsignal(number) for number in ASKING}
        self.heeded = [number for number, handler in before.items() if handler != signal.SIG_IGN]  # nohup, `&`
        self.take_signals()
        alarm = threading.Timer(max(0.0, self.end - time.monotonic()), self._wake) if self.end is not None else None
        if alarm:
            alarm.daemon = True
            alarm.start()
        try:
            yield
        finally:
            if alarm:
                alarm.cancel()
            if threading.current_thread() is threading.main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def heeding(self, told: Callable[[], T]) -> T:
        """Do something, heeding signals and the limit."""
        with self.watching():
            return told()

    def take_signals(self) -> None:
        """Make the signals ours (again, where a library took them)."""
        if threading.current_thread() is threading.main_thread():
            for number in self.heeded:
                signal.signal(number, self._on_signal)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Only take note of requests until the end of the block, which asks for them."""
        self.holding = True
        try:
            yield
        finally:
            self.holding = False

    def check(self, where: str) -> None:
        """Raise `Stopped` if the run was asked to end."""
        if self.asked:
            raise Stopped(f"stopped {where} ({self.reason}); the same command with --resume goes on", self.code)

    def _on_signal(self, number: int, frame: Any) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGINT and (not self.holding or self.code):  # at once; or the second time
            raise KeyboardInterrupt
        if number == signal.SIGINT:
            self.code = 130
        self.reason = self.reason or name
        if not self.holding:
            self.check("before a step")

    def _wake(self) -> None:
        """The limit's end, in the timer's thread: the main thread may be in the middle of something long."""
        if self.asked and not self.holding:
            _thread.interrupt_main(signal.SIGTERM)
