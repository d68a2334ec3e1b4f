"""The workers that decode what strangers send: from here, connections to children of `keeper.py`, kept warm.

A worker that dies or takes too long costs its one file a refusal, and is replaced.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from anyx.faults import Limits
from anyx.media import MEDIA, Kind
from anyx.serving.passing import name_of, receive, send, unpack
from anyx.serving.refusing import Refused

GRACE = 5.0  # seconds after the kernel should have ended a worker
START = 120.0  # seconds in which libraries must have been imported
ROOM = 2**29  # bytes that libraries take beside what a file decodes to
COPIES = 3  # of what a file decodes to that exist at once: as decoded, as stacked, as converted
LATE = 0.95  # of the time: a worker that ends then was ended by it
LINUX = sys.platform == "linux"
PASSED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")  # no keys, no proxies


class Crew:
    """`size` workers, started when one is wanted; of several threads at once. `close` it."""

    def __init__(self, size: int, timeout: float, limits: Limits) -> None:
        self.timeout, self.limits = timeout, limits
        self.allowance = int(COPIES * limits.memory + 2 * limits.bytes) + ROOM
        self._idle: queue.LifoQueue[socket.socket | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)
        self._kinds: dict[str, type[Any]] = {name_of(kind): kind for kind in MEDIA.values()}
        self._modules: list[str] = []
        self._lock = threading.Lock()
        self._keeper: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._closed = False

    def start(self) -> None:
        """Start one worker now rather than when it is wanted: its libraries take seconds to import."""
        worker = self._idle.get()
        with suppress(Refused):  # it is said to whom it happens
            worker = worker or self._hired()
        self._idle.put(worker)

    def decode(self, kind: Kind, data: bytes) -> Any:
        """A medium of a kind from the bytes of a file; `Refused` where that cannot be, or not in time."""
        with self._lock:
            known = name_of(kind) in self._kinds
        if not known:
            self._learn(kind)
        try:
            worker = self._idle.get(timeout=4 * self.timeout)
        except queue.Empty:
            raise Refused("too many files are being read: try again later", 429) from None
        kept = None
        try:
            if worker is None or not _alive(worker):
                worker = self._hired()
            answer, tensors = self._asked(worker, kind, data)
            if "unknown" in answer:
                worker.close()
                worker = self._hired()
                answer, tensors = self._asked(worker, kind, data)
            kept = None if answer["last"] else worker
        finally:
            if worker is not None and kept is None:
                worker.close()
            self._idle.put(kept)
        if "refused" in answer:
            raise Refused(answer["refused"], answer["status"])
        return unpack(answer["tree"], tensors, self._kinds)

    def close(self) -> None:
        """End all workers, at once, and start none any more."""
        with self._lock:
            self._closed = True
            self._end()
        self._rest()

    def _asked(self, worker: socket.socket, kind: Kind, data: bytes) -> tuple[dict[str, Any], list[Any]]:
        """What a worker answers."""
        begin = time.monotonic()
        late = Refused(f"it takes more than {self.timeout:g} seconds to read", 413)
        worker.settimeout(self.timeout + GRACE)
        try:
            send(worker, {"kind": name_of(kind), "limits": asdict(self.limits), "timeout": self.timeout}, [data])
            return receive(worker, self.allowance)
        except TimeoutError:
            with self._lock:
                self._end()
            raise late from None
        except (EOFError, OSError):
            if time.monotonic() - begin > LATE * self.timeout:
                raise late from None
            raise Refused("what decodes it broke down on it: it is corrupt, or takes more than is allowed") from None

    def _learn(self, kind: Kind) -> None:
        """Let workers know a kind that is not in `anyx.media`; those that do not know it end."""
        self._kinds[name_of(kind)] = kind
        self._modules.append(kind.__module__)
        self._rest()

    def _rest(self) -> None:
        """Let the workers go that have nothing to do."""
        places = 0
        with suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                places += 1
                if worker is not None:
                    worker.close()
        for _ in range(places):
            self._idle.put(None)

    def _hired(self) -> socket.socket:
        """A connection to a new worker that is ready."""
        for _ in range(2):  # a keeper that was killed is replaced
            ours, its = socket.socketpair()
            try:
                with its, self._lock:
                    order = {"modules": self._modules, "allowance": self.allowance}
                    socket.send_fds(self._sender(), [json.dumps(order).encode()], [its.fileno()])
                ours.settimeout(START)
                receive(ours, 0)
                return ours
            except (EOFError, OSError):
                ours.close()
                with self._lock:
                    self._end()
        raise Refused("nothing can be decoded here: its process does not start", 503)

    def _sender(self) -> socket.socket:
        """The connection to the keeper, which is started where there is none."""
        if self._closed:
            raise Refused("this intake is closed", 503)
        if self._keeper is None:
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if LINUX else socket.SOCK_STREAM)
            path = os.pathsep.join(os.path.abspath(folder or ".") for folder in sys.path)
            environment = {name: os.environ[name] for name in PASSED if name in os.environ}
            with its:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "anyx.serving.keeper", str(its.fileno())],
                    env={**environment, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                    pass_fds=[its.fileno()],
                    stdin=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            self._keeper = process, ours
        return self._keeper[1]

    def _end(self) -> None:
        """End the keeper and all its children."""
        if self._keeper is not None:
            process, sender = self._keeper
            self._keeper = None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            sender.close()


def _alive(worker: socket.socket) -> bool:
    """Whether a worker with nothing to do has not ended."""
    worker.setblocking(False)
    try:
        return bool(worker.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
