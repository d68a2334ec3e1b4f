"""A server until it is told to end: at SIGTERM or Ctrl-C it takes nothing new, finishes what it has, and goes."""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

from anyx.serving.app import Server
from anyx.serving.connections import bounded

POLL = 0.05


class Running:
    """Serves on a socket; `run` returns when it has ended. `grace` seconds are for what it still answers then.

    It has at most so many `connections` at once. `stop` may be called from any thread, once to end in peace, twice to
    end at once.
    """

    def __init__(self, server: Server, bound: socket.socket, *, grace: float = 30.0, connections: int = 512) -> None:
        import uvicorn

        self.server, self.bound, self.grace = server, bound, grace
        self.stops = 0
        config = uvicorn.Config(
            server.gate,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            http=bounded(connections, server.front.settings.patience),
        )
        self.uvicorn = uvicorn.Server(config)
        self.uvicorn.capture_signals = contextlib.nullcontext  # type: ignore[assignment, method-assign]  # we hear

    @property
    def url(self) -> str:
        """Where it is reached."""
        host, port = self.bound.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def started(self) -> bool:
        """Whether it answers."""
        return bool(self.uvicorn.started)

    def stop(self) -> None:
        """End: nothing new is taken, what is in work is answered."""
        self.stops += 1
        self.server.front.engine.refusing = True

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until `stop`, or a signal where this is the main thread; `ready` is called when it answers."""
        asyncio.run(self._run(ready))

    async def _run(self, ready: Callable[[], None] | None) -> None:
        def heard(_: int, __: FrameType | None) -> None:
            self.stop()

        serving = asyncio.create_task(self.uvicorn.serve([self.bound]))
        with contextlib.ExitStack() as stack:
            if threading.current_thread() is threading.main_thread():
                for name in (signal.SIGINT, signal.SIGTERM):
                    stack.callback(signal.signal, name, signal.signal(name, heard))
            while not self.started and not serving.done():
                await asyncio.sleep(POLL)
            if ready is not None and not serving.done():
                ready()
            while not self.stops and not serving.done():
                await asyncio.sleep(POLL)
            ends = asyncio.get_running_loop().time() + self.grace
            while not self.server.idle and self.stops < 2 and asyncio.get_running_loop().time() < ends:
                await asyncio.sleep(POLL)
            for job in list(self.server.front.engine.alive):
                self.server.front.engine.cancel(job)
            self.uvicorn.should_exit = True
            await serving
