"""Between HTTP and the engine: the replies to one request, until they end, its time is over or its client leaves."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from anyx.interfaces import Media
from anyx.ports import Making, makings
from anyx.serving.content import Reader
from anyx.serving.engine import Engine
from anyx.serving.jobs import Ended, Item, Job, Order
from anyx.serving.metrics import Metrics
from anyx.serving.most import side
from anyx.serving.settings import Settings
from anyx.serving.store import Store
from anyx.watching import Cancelled

SILENCE = 10.0  # seconds after which a stream says that it is still there


class Made(NamedTuple):
    """A medium of output `key`."""

    key: str
    medium: Media


class Finish(NamedTuple):
    """A reply is whole, for OpenAI's reason: stop or length."""

    reason: str
    job: Job


Event = str | Made | Finish


class Front(NamedTuple):
    """What every route needs."""

    engine: Engine
    reader: Reader
    store: Store
    metrics: Metrics
    settings: Settings

    def how(self, decode: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Making]:
        """How media are made, of what a client said, within the ceilings."""
        if not decode:
            return {}
        outputs = self.engine.model.outputs
        self.settings.within(decode, {key: side(outputs[key].known) for key in decode if key in outputs})
        return makings(decode, outputs)


class Answers:
    """The replies to one HTTP request: `events` gives (place, event) in order. Whoever makes one iterates or closes it.

    `receive` is ASGI's, by which a client's leaving is heard; `began` is when the request came (`time.monotonic`).
    """

    def __init__(
        self, front: Front, orders: Sequence[Order], receive: Callable[[], Awaitable[Mapping[str, Any]]], began: float
    ) -> None:
        self.front = front
        self.ends = began + front.settings.timeout
        self.cut: set[int] = set()
        self._out: asyncio.Queue[tuple[int, Event | Exception]] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        inboxes: list[asyncio.Queue[Item]] = [asyncio.Queue() for _ in orders]

        def tell(place: int, item: Item) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who would hear this
                loop.call_soon_threadsafe(inboxes[place].put_nowait, item)

        self.jobs = front.engine.submit(orders, tell)
        self._tasks = [asyncio.create_task(self._pump(place, inbox)) for place, inbox in enumerate(inboxes)]
        self._tasks.append(asyncio.create_task(self._leave(receive)))

    def stop(self, place: int) -> None:
        """A reply is long enough: what it would still say is not wanted, and it ends well."""
        self.cut.add(place)
        self.front.engine.cancel(self.jobs[place])

    async def events(self, *, silence: float | None = None) -> AsyncIterator[tuple[int, Event | None]]:
        """Each reply's events, the last of each a `Finish`; errors are raised.

        TimeoutError when the time is over, `Cancelled` when the client has left. After `silence` seconds without any,
        (0, None) is given.
        """
        left = len(self.jobs)
        try:
            while left:
                remaining = self.ends - time.monotonic()
                try:
                    place, event = await asyncio.wait_for(
                        self._out.get(), remaining if silence is None else min(silence, remaining)
                    )
                except TimeoutError:
                    if time.monotonic() >= self.ends:
                        raise
                    yield 0, None
                    continue
                if isinstance(event, Exception):
                    raise event
                left -= isinstance(event, Finish)
                yield place, event
        finally:
            self.close()

    def close(self) -> None:
        """Give up what is not there yet, and count what was."""
        for task in self._tasks:
            task.cancel()
        for job in self.jobs:
            self.front.engine.cancel(job)
            self.front.metrics.prompted.inc(job.read)
            self.front.metrics.said.inc(job.said)

    async def _pump(self, place: int, inbox: asyncio.Queue[Item]) -> None:
        job = self.jobs[place]
        try:
            while not isinstance(item := await inbox.get(), Ended):
                if place in self.cut:
                    continue
                if isinstance(item, str):
                    self._out.put_nowait((place, item))
                else:
                    medium = await asyncio.wrap_future(item.medium)
                    self.front.metrics.media.labels(item.key).inc()
                    self._out.put_nowait((place, Made(item.key, medium)))
            if item.error is not None and place not in self.cut:
                raise item.error
            reason = "length" if job.full and place not in self.cut else "stop"
            self._out.put_nowait((place, Finish(reason, job)))
        except asyncio.CancelledError:
            if not job.watch.cancelled:  # the task is, and not a medium that the engine gave up
                raise
            self._out.put_nowait((place, Cancelled("the request was cancelled")))
        except Exception as error:
            self._out.put_nowait((place, error))

    async def _leave(self, receive: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._out.put_nowait((0, Cancelled("the client has left")))
        for job in self.jobs:
            self.front.engine.cancel(job)
