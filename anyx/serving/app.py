"""The HTTP application: OpenAI's routes over an engine, media by id, health and metrics.

No future import here: FastAPI reads the annotations of routes, which name what is imported inside the function.
"""

import asyncio
import html
import logging
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from anyx.media import Audio, Image
from anyx.serving import chatting, making
from anyx.serving.content import Reader
from anyx.serving.engine import Closing, Engine
from anyx.serving.front import Answers, Event, Front
from anyx.serving.gate import Gate
from anyx.serving.intake import Intake
from anyx.serving.metrics import CONTENT_TYPE, Metrics
from anyx.serving.problems import Problem, body_problem, http_problem, problem_of
from anyx.serving.replying import now
from anyx.serving.settings import Settings
from anyx.serving.sounds import FORMATS, encoded
from anyx.serving.store import Store
from anyx.serving.wire import ChatRequest, ImagesRequest, SpeechRequest

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = logging.getLogger(__name__)
Read = TypeVar("Read")
PICTURES = {"png": "png", "jpeg": "jpg", "webp": "webp"}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """OpenAI's error."""

    error: ErrorDetail


SAID = {
    400: "what was sent is not taken, and why",
    401: "no API key, or an unknown one",
    403: "a name of this server that it does not know",
    404: "there is no such model, output or medium",
    408: "the body came too slowly",
    413: "more bytes or larger media than are read here",
    415: "media of a kind that is not read here",
    422: "the model answered without the medium that was asked for",
    429: "as many requests as may be wait already; Retry-After says when to come again",
    503: "the server is shutting down, or has as many connections as it may",
    504: "the reply took longer than the server allows",
}
CHATS: dict[int | str, dict[str, Any]] = {
    200: {"description": "a reply, or its pieces as they come", "content": {"text/event-stream": {}}}
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": told} for status, told in SAID.items()
}


class Server:
    """An application and what it is made of: `gate` is what an ASGI server runs."""

    def __init__(self, front: Front, gate: Gate, api: "FastAPI") -> None:
        self.front, self.gate, self.api = front, gate, api

    @property
    def idle(self) -> bool:
        """Whether nothing is asked any more."""
        return not self.gate.flying and not self.front.engine.alive


def application(
    engine: Engine, settings: Settings, *, intake: Intake | None = None, store: Store | None = None
) -> Server:
    """Everything that is served of an engine; who made the engine, and the intake if there is one, closes them."""
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
    from starlette.exceptions import HTTPException

    metrics = Metrics()
    metrics.watch("anyx_queue_length", "Requests that have not begun to speak.", lambda: engine.waiting)
    metrics.watch("anyx_requests_taken", "Requests that wait, speak or have media made.", lambda: len(engine.alive))
    engine.on_batch = metrics.batches.observe
    if store is None:
        store = Store(seconds=settings.expiry, bound=settings.kept)
    metrics.watch("anyx_media_kept_bytes", "Bytes of media that can be fetched.", lambda: store.size)
    reader = Reader(
        engine.model.inputs, engine.model.outputs, intake=intake or Intake(), store=store, settings=settings
    )
    front = Front(engine, reader, store, metrics, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.drain(0)
        reader.close()
        if intake is None:
            reader.intake.close()

    app = FastAPI(
        title="anyx", docs_url=None, redoc_url=None, redirect_slashes=False, responses=ERRORS, lifespan=lifespan
    )

    async def failed(_: Request, error: Exception) -> Response:
        problem = problem_of(error)
        if problem.status == 500:
            log.error("a request failed", exc_info=error)
        return Response(problem.data(), problem.status, problem.headers, "application/json")

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await failed(request, body_problem(error.errors(), request.headers.get("content-type", "")))

    async def other(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        problem = http_problem(error.status_code, error.detail)
        problem.headers.update(error.headers or {})
        return await failed(_, problem)

    for kind in (Problem, ValueError, TimeoutError, RuntimeError):
        app.add_exception_handler(kind, failed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, other)

    def base(request: Request) -> str:
        return str(request.base_url).rstrip("/")

    @app.post("/v1/chat/completions", tags=["chat"], responses=CHATS)
    async def chat_completions(request: Request, sent: ChatRequest) -> Any:
        """Answer a conversation in words and media; `stream` gives server-sent events."""
        asked = await in_time(front, request, chatting.asked(front, sent))
        answers = Answers(front, asked.orders, request.receive, request.state.began)
        shape = chatting.shape_of(asked, sent, base(request))
        if not sent.stream:
            return JSONResponse(await chatting.whole(front, answers, asked, shape))
        count = bool(sent.stream_options and sent.stream_options.include_usage)
        events = chatting.streamed(front, answers, asked, shape, count=count)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @app.post("/v1/images/generations", tags=["media"])
    async def images_generations(request: Request, sent: ImagesRequest) -> Any:
        """Pictures of what a prompt says."""
        orders = await in_time(front, request, making.images(front, sent))
        told = await collected(Answers(front, orders, request.receive, request.state.began))
        pictures = [making.first(front, events, Image) for events in told]
        data = [await asyncio.to_thread(picture_of, picture, sent, base(request)) for picture in pictures]
        return JSONResponse({"created": now(), "data": data, "output_format": sent.output_format or "png"})

    def picture_of(picture: Any, sent: ImagesRequest, address: str) -> dict[str, Any]:
        import base64

        suffix = PICTURES[sent.output_format] if sent.output_format else None
        if (sent.response_format or ("b64_json" if suffix else "url")) == "b64_json":
            return {"b64_json": base64.b64encode(picture.to_bytes(suffix or "png")).decode("ascii")}
        kept = store.keep(picture, suffix)
        return {"url": f"{address}/media/{kept.name}"}

    @app.post("/v1/audio/speech", tags=["media"], response_class=Response)
    async def audio_speech(request: Request, sent: SpeechRequest) -> Any:
        """Words, said aloud."""
        orders = await in_time(front, request, making.speech(front, sent))
        told = await collected(Answers(front, orders, request.receive, request.state.began))
        sound = making.first(front, told[0], Audio)
        data = await asyncio.to_thread(encoded, sound, sent.response_format)
        return Response(data, media_type=FORMATS[sent.response_format].type)

    def described() -> dict[str, Any]:
        return {
            "id": settings.name, "object": "model", "created": started, "owned_by": "anyx", **chatting.accepted(front)
        }  # fmt: skip

    started = now()

    @app.get("/v1/models", tags=["models"])
    async def models() -> Any:
        """The model that is served."""
        return JSONResponse({"object": "list", "data": [described()]})

    @app.get("/v1/models/{name:path}", tags=["models"])
    async def model(name: str) -> Any:
        """What goes in and out of it."""
        chatting.served(front, name)
        return JSONResponse(described())

    @app.get("/media/{name}", tags=["media"], response_class=Response)
    async def media(name: str) -> Any:
        """A medium that was made, for as long as it is kept."""
        kept = store.get(name)
        if kept is None:
            raise Problem(404, "there is no such medium, or not any more", code="expired")
        headers = {
            "Cache-Control": "private, max-age=3600, immutable",
            "Content-Disposition": f'inline; filename="{name[:8]}.{kept.suffix}"',
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return Response(kept.data, media_type=kept.type, headers=headers)

    @app.get("/healthz", tags=["health"])
    async def health() -> Any:
        """Whether the server lives."""
        return JSONResponse({"status": "ok" if engine.working else "broken"}, 200 if engine.working else 500)

    @app.get("/readyz", tags=["health"])
    async def ready() -> Any:
        """Whether it takes requests."""
        if engine.refusing:
            raise Closing("the server is shutting down")
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", tags=["health"], response_class=Response)
    async def counted() -> Any:
        """Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Any:
        """The routes, in a page that loads nothing from elsewhere."""
        rows = "".join(
            f"<tr><td>{verb.upper()}</td><td>{html.escape(path)}</td><td>{html.escape(said['description'])}</td></tr>"
            for path, verbs in app.openapi()["paths"].items()
            for verb, said in verbs.items()
        )
        return HTMLResponse(f'<title>anyx</title><table>{rows}</table><a href="/openapi.json">openapi.json</a>')

    return Server(front, Gate(app, settings, metrics), app)


async def in_time(front: Front, request: "Request", reading: Coroutine[Any, Any, Read]) -> Read:
    """What is read of a request, unless there is no room for it or its time is over before."""
    try:
        front.engine.admit()
    except RuntimeError:
        reading.close()
        raise
    return await asyncio.wait_for(reading, request.state.began + front.settings.timeout - time.monotonic())


async def collected(answers: Answers) -> list[list[Event]]:
    """All events of each reply."""
    told: list[list[Event]] = [[] for _ in answers.jobs]
    async for place, one in answers.events():
        if one is not None:
            told[place].append(one)
    return told
