"""The gate before every route: who may pass, how much is read, what is counted. Plain ASGI.

HEAD is answered as GET is, without the body.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyx.serving.hosts import answers, name_of
from anyx.serving.metrics import Metrics
from anyx.serving.problems import Problem, problem_of
from anyx.serving.settings import Settings

log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
GUARDED = ("/v1/", "/metrics")
SAFE = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


class Gate:
    """Wraps an application: Host header, API key, size of the body, in this order; then it is answered and counted."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], settings: Settings, metrics: Metrics):
        self.app, self.settings, self.metrics = app, settings, metrics
        self.held = 0  # bytes of bodies in work
        self.flying = 0
        self._keys = [digest(key.encode()) for key in settings.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began, status, holds = time.monotonic(), 0, [0]
        bare = scope["method"] == "HEAD"
        if bare:
            scope = {**scope, "method": "GET"}

        async def sent(event: MutableMapping[str, Any]) -> None:
            nonlocal status
            if event["type"] == "http.response.start":
                status = event["status"]
                event["headers"] = [*event.get("headers", []), *SAFE]
            elif bare:
                event = {**event, "body": b""}
            await asyncio.wait_for(send(event), self.settings.timeout)  # a client that reads nothing holds nothing

        asks = scope["method"] == "POST"  # what is only looked at does not keep a server that ends
        self.flying += asks
        self.metrics.flying.set(self.flying)
        try:
            headers = {name: value for name, value in scope["headers"]}
            self._known(headers)
            self._allowed(scope["path"], headers)
            body = await self._body(headers, receive, holds)
            scope.setdefault("state", {})["began"] = began
            await self.app(scope, replay(body, receive), sent)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.exception("a request failed")
            if not status:
                await answer(problem, sent)
        finally:
            self.held -= holds[0]
            self.flying -= asks
            self.metrics.flying.set(self.flying)
            found = scope.get("route")
            route = "other" if found is None else str(found.path)
            self.metrics.requests.labels(route, str(status)).inc()
            self.metrics.latency.labels(route).observe(time.monotonic() - began)

    def _known(self, headers: MutableMapping[bytes, bytes]) -> None:
        header = headers.get(b"host", b"")
        if not answers(header, self.settings.hosts):
            name = name_of(header.decode("latin-1"))[:80]
            raise Problem(403, f"this server is not {name!r}; --allow-host adds a name", code="unknown_host")

    def _allowed(self, path: str, headers: MutableMapping[bytes, bytes]) -> None:
        if not self._keys or not path.startswith(GUARDED):
            return
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        given = digest(key.strip())
        found = [hmac.compare_digest(given, known) for known in self._keys]  # all of them: time tells nothing
        if scheme.lower() != b"bearer" or not any(found):
            told = "give an API key: Authorization: Bearer KEY" if not key else "this API key is not known here"
            raise Problem(401, told, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})

    async def _body(self, headers: MutableMapping[bytes, bytes], receive: Receive, holds: list[int]) -> bytes:
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.settings.body:
            await self._spill(receive)
            raise self._large()
        chunks: list[bytes] = []
        size, ends = 0, time.monotonic() + self.settings.patience
        while True:
            try:
                event = await asyncio.wait_for(receive(), ends - time.monotonic())
            except TimeoutError:
                told = f"the body did not arrive within {self.settings.patience:g} seconds"
                raise Problem(408, told, code="slow_body", headers={"Connection": "close"}) from None
            if event["type"] == "http.disconnect":
                raise Problem(499, "the client has left")
            chunk = event.get("body", b"")
            size += len(chunk)
            if size > self.settings.body:
                await self._spill(receive)
                raise self._large()
            if self.held + len(chunk) > self.settings.bodies:
                await self._spill(receive)
                told = "as many bytes as may be are in work"
                raise Problem(429, told, code="busy", headers={"Retry-After": "1", "Connection": "close"})
            self.held += len(chunk)
            holds[0] += len(chunk)
            chunks.append(chunk)
            if not event.get("more_body", False):
                return b"".join(chunks)

    async def _spill(self, receive: Receive) -> None:
        """Let the rest of a body go by for a while: a client that still writes would not read the answer."""
        left = 2 * self.settings.body
        try:
            async with asyncio.timeout(min(5.0, self.settings.patience)):
                while left > 0:
                    event = await receive()
                    left -= len(event.get("body", b""))
                    if event["type"] == "http.disconnect" or not event.get("more_body", False):
                        return
        except TimeoutError:
            return

    def _large(self) -> Problem:
        told = f"a body has at most {self.settings.body} bytes here"
        return Problem(413, told, code="body_too_large", headers={"Connection": "close"})


def digest(key: bytes) -> bytes:
    """Keys are compared by digests, which are of one length."""
    return hashlib.sha256(key).digest()


def replay(body: bytes, receive: Receive) -> Receive:
    """ASGI's receive, of a body that was read already."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def answer(problem: Problem, send: Send) -> None:
    """Send an error."""
    data = problem.data()
    headers = {"content-type": "application/json", "content-length": str(len(data)), **problem.headers}
    listed = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": listed})
    await send({"type": "http.response.body", "body": data})
