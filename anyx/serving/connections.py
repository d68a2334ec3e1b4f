"""How many connections a server has at once, and how long one may take to say what it wants.

uvicorn's own limit counts those that lie idle too, and then answers 503 to everybody. Here an idle one gives way to one
that comes; where none is idle, the new one is told 503 and closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

from anyx.serving.gate import Receive, Send, answer
from anyx.serving.problems import Problem

SPARE = 5.0  # seconds in which one that is too many may ask, to be told so


def bounded(most: int, patience: float) -> type[asyncio.Protocol]:
    """uvicorn's protocol of HTTP, for at most so many connections; headers arrive within `patience` seconds."""
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    base: Any = AutoHTTPProtocol

    class Bounded(base):  # type: ignore[misc]  # one of two classes of uvicorn's
        late: asyncio.TimerHandle | None = None  # ends a connection whose headers are not all there

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            here = [one for one in self.connections if not one.transport.is_closing()]
            idle = next((one for one in here if one.timeout_keep_alive_task is not None), None)
            self.watch(patience)
            if len(here) > most and idle is not None:
                idle.transport.close()
            elif len(here) > most:
                self.app = full
                self.watch(min(SPARE, patience))

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self.unwatch()
            elif self.late is None:  # a drop does not begin the time anew
                self.watch(patience)

        def connection_lost(self, exc: Exception | None) -> None:
            self.unwatch()
            super().connection_lost(exc)

        def watch(self, seconds: float) -> None:
            self.unwatch()
            self.late = self.loop.call_later(seconds, self.transport.close)

        def unwatch(self) -> None:
            if self.late is not None:
                self.late.cancel()
            self.late = None

    made: type[asyncio.Protocol] = Bounded
    return made


async def full(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """What a connection is told that is one too many."""
    told = "as many connections as may be are open; come again, or keep one for several requests"
    headers = {"Retry-After": "1", "Connection": "close"}
    await answer(Problem(503, told, code="too_many_connections", headers=headers), send)
