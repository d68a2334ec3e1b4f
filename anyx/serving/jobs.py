"""One request on its way through the engine: what it asks, what it hears, how it is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future
from typing import NamedTuple

from anyx.decoding import Sampling
from anyx.interfaces import Media
from anyx.ports import Making
from anyx.processor import Sample
from anyx.watching import Cancelled, Happening, Watch


class Order(NamedTuple):
    """A conversation laid out, its media transformed; how words are chosen, its noise, and how media are made."""

    sample: Sample
    sampling: Sampling
    seed: int = 0
    how: Mapping[str, Making] = {}

    def goes_with(self, other: Order) -> bool:
        """Whether both may be answered side by side: words chosen alike, for as many tokens as each wants."""
        alike = self.sampling.max_new_tokens
        return self.sampling == Sampling(**vars(other.sampling) | {"max_new_tokens": alike})


class Shown(NamedTuple):
    """A medium of output `key`, as soon as it is made."""

    key: str
    medium: Future[Media]


class Ended(NamedTuple):
    """Nothing comes any more; `error` is why, where something went wrong."""

    error: Exception | None = None


Item = str | Shown | Ended


class Job:
    """A request that was taken. `tell` is called with each item in the order they are said, in the engine's threads.

    `done` is called once, when neither words nor media are in work any more.
    """

    def __init__(self, order: Order, tell: Callable[[Item], None], done: Callable[[Job], None]) -> None:
        self.order, self.watch = order, Watch(self._heard)
        self.came = time.monotonic()
        self.begun = self.spoken = self.ended = False
        self.read = self.said = 0  # tokens of the prompt and of the reply
        self.room = order.sampling.max_new_tokens
        self.error: Exception | None = None
        self._tell, self._done = tell, done
        self._media: list[Future[Media]] = []
        self._left = 1  # the words, and every medium
        self._lock = threading.Lock()

    @property
    def full(self) -> bool:
        """Whether the reply ended because it had no room left."""
        return self.said >= self.room

    def say(self, text: str) -> None:
        """Hand out words."""
        self.begun = True
        self._tell(text)

    def show(self, key: str, medium: Future[Media]) -> None:
        """Hand out a medium in the making."""
        self.begun = True
        with self._lock:
            self._left += 1
            self._media.append(medium)
        medium.add_done_callback(lambda _: self._less())
        if self.watch.cancelled:
            medium.cancel()
        self._tell(Shown(key, medium))

    def end(self, error: Exception | None = None) -> None:
        """No more words; only the first call counts."""
        with self._lock:
            if self.ended:
                return
            self.ended, self.error = True, error
        self._tell(Ended(error))
        self._less()

    def cancel(self) -> None:
        """Nobody waits any more: stop the words at their next token, and media at their next denoising step."""
        self.watch.cancel()
        with self._lock:
            media = list(self._media)
        for medium in media:
            medium.cancel()

    def _less(self) -> None:
        with self._lock:
            self._left -= 1
            left = self._left
        if left == 0:
            self._done(self)

    def _heard(self, now: Happening) -> None:
        if now.part == "say":
            self.said, self.spoken = now.done, now.finished
        elif now.part == "read" and now.finished:
            self.read = now.done


def items(inbox: Callable[[], Item]) -> Iterator[str | tuple[str, Media]]:
    """What a job hears, waited for in a thread: words, and media with their keys; its error is raised."""
    while not isinstance(item := inbox(), Ended):
        try:
            yield item if isinstance(item, str) else (item.key, item.medium.result())
        except CancelledError:
            raise Cancelled("the request was cancelled") from None
    if item.error is not None:
        raise item.error
