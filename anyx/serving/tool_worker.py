"""A worker: tools behind HTTP, so that an agent may use them from another process or machine.

    GET  /tools         the specs of the tools
    POST /tools/{name}  {"arguments": {...}} -> a result (`wire`); what the tool itself refuses is a result with `error`

It listens on loopback unless told otherwise, answers to names of its own host only (so that no web page of a stranger
reaches it through the browser), takes bodies up to a size, and runs a few calls at once. A request that is wrong in
itself gets a status and `{"error": ...}`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from anyx.agents.interfaces import Call, Gallery
from anyx.agents.toolbox import Toolbox
from anyx.serving import tool_wire as wire
from anyx.serving.hosts import LOOPBACK, answers
from anyx.serving.intake import Intake, Refused

if TYPE_CHECKING:
    from fastapi import FastAPI


class TooLarge(ValueError):
    """A body over the limit."""


def worker(
    tools: Toolbox,
    intake: Intake,
    *,
    key: str | None = None,
    seconds: float = 120.0,
    bytes: int = 2**26,
    at_once: int = 4,
    hosts: Collection[str] = LOOPBACK,
) -> FastAPI:
    """The application. A call has `seconds`, a body at most `bytes`; `key` is asked for as a bearer token if given."""
    from fastapi import FastAPI
    from fastapi.concurrency import run_in_threadpool
    from fastapi.responses import Response

    if key is not None and not key.strip():
        raise ValueError("key: a blank one was given, which lets in whoever sends none")
    app = FastAPI(title="anyx tools", docs_url=None, redoc_url=None, openapi_url=None)
    running = 0

    def said(value: Any, status: int = 200) -> Response:
        return Response(json.dumps(value), status, media_type="application/json")

    def refusal(request: Any) -> Response | None:
        if not answers(request.headers.get("host", "").encode("latin-1"), hosts):
            return said({"error": "this worker is not called so; --allow-host adds a name"}, 403)
        given = request.headers.get("authorization", "")
        if key is not None and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
            return said({"error": "the key is missing or wrong"}, 401)
        return None

    async def specs(request: Any) -> Response:
        if refused := refusal(request):
            return refused
        return said([one.plain() for one in tools.specs])

    async def call(request: Any) -> Response:
        nonlocal running
        name = request.path_params["name"]
        if refused := refusal(request):
            return refused
        if name not in tools.tools:
            return said({"error": f"there is no tool {name[:80]!r}; tools: {', '.join(tools)}"}, 404)
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return said({"error": "a call is of content type application/json"}, 415)
        if running >= at_once:
            return said({"error": f"{at_once} calls are running; try again"}, 503)
        running += 1
        try:
            body = await asyncio.wait_for(received(request, bytes), seconds)
            return Response(await run_in_threadpool(run, name, body), media_type="application/json")
        except TimeoutError:
            return said({"error": f"the request took longer than {seconds:g} s to arrive"}, 408)
        except TooLarge as error:
            return said({"error": str(error)}, 413)
        except Refused as error:
            return said({"error": str(error)}, error.status)
        except ValueError as error:
            return said({"error": str(error)}, 400)
        finally:
            running -= 1

    def run(name: str, body: Any) -> Any:
        spec, gallery = tools.tools[name].spec, Gallery()
        arguments = wire.read(spec, body, intake)
        media = {one.name for one in spec.parameters if one.medium}
        named = {at: gallery.add(value) if at in media else value for at, value in arguments.items()}
        return wire.answered(tools.run(Call(name, named), gallery, seconds=seconds))

    app.add_route("/tools", specs, methods=["GET"])
    app.add_route("/tools/{name}", call, methods=["POST"])
    return app


async def received(request: Any, most: int) -> Any:
    """The body of a request, as far as it may go."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise TooLarge(f"a body has at most {most:,} bytes")
    return bytes(body)
