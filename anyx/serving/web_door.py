"""The door of the web demo: which requests come through to Gradio, and what every answer carries.

Gradio serves more than a demo needs: a proxy, files by any address, code editing, a catalogue of its functions. Here
only what the page itself asks for comes through, only from this host's own names, and files only from the folder of
uploads. Pages may load and run nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, Container, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from anyx.serving.hosts import answers, name_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
FILE = f"{API}/file="
OPEN = re.compile(
    rf"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.+|"
    rf"{API}/(file=.+|queue/(join|data)/?|upload|upload_progress|heartbeat/\w+|reset/?|cancel|"
    rf"startup-events|app_id/?|theme\.css|info/?|login_check/?)"
)
ORIGIN = re.compile(r"(https?://([\w.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?)?", re.ASCII | re.IGNORECASE)  # a page's, or none
SESSION = re.compile(r"\w{1,64}", re.ASCII)  # the number of a page, without which Gradio has an error of its own
READING = ("GET", "HEAD")
BODY = 1 << 20  # bytes of a request that is no upload: words and the names of files
ROOM = 1 << 31  # bytes of all files that lie here; uploads are told before that
POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'strict-dynamic' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
FILE_POLICY = "default-src 'none'; sandbox"
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}


class Door:
    """An ASGI app in front of another; `hosts` are the names it may be called by, `folder` holds what it serves.

    `functions` are the numbers of what the page may call: Gradio has no answer to others but an error of its own.
    """

    def __init__(
        self, app: App, *, hosts: Collection[str], folder: Path, functions: Container[int], room: int = ROOM
    ) -> None:
        self.functions = functions
        self.app, self.hosts, self.folder = app, hosts, folder.resolve()
        self.room, self.coming = room, 0  # bytes of uploads on their way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no websockets
        headers = {name.lower(): value for name, value in scope["headers"]}
        if told := self.refusal(scope, headers):
            await refuse(send, *told)
            return
        if scope["method"] == "POST" and scope["path"].startswith(f"{API}/upload"):
            await self.uploaded(scope, headers, receive, send)
            return
        if scope["method"] == "POST":
            body = await whole(receive, BODY)
            if body is None:
                await refuse(send, 413, "too long")
                return
            if wrong := self.wrong(scope, body, self.called(headers)):
                await refuse(send, 400, wrong)
                return
            receive = again(body, receive)
        await self.app(scope, receive, self.guarded(scope, headers, send))

    async def uploaded(self, scope: Scope, headers: MutableMapping[bytes, bytes], receive: Receive, send: Send) -> None:
        """Take files, as far as there is room for them."""
        length = headers.get(b"content-length", b"")
        if not length.isdigit():
            await refuse(send, 411, "an upload says how long it is")
            return
        self.coming += int(length)
        try:
            if self.coming + await asyncio.to_thread(size, self.folder) > self.room:
                await refuse(send, 507, "there is no room for more files now; try again later")
                return
            await self.passed(scope, receive, self.guarded(scope, headers, send))
        except TypeError:  # Gradio's, of a part of the form that is no file
            await refuse(send, 400, "an upload is a form of files")
        finally:
            self.coming -= int(length)

    async def passed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an upload on, and read it to its end; what is told of a `TypeError` is kept back."""
        kept: list[Message] = []
        more = True

        async def heard() -> Message:
            nonlocal more
            message = await receive()
            more = bool(message.get("more_body"))
            return message

        async def keep(message: Message) -> None:
            if kept or message.get("status") == 500:
                kept.append(message)
            else:
                await send(message)

        try:
            await self.app(scope, heard, keep)
        except TypeError:
            kept.clear()
            while more:  # a connection that is closed before its end loses the answer
                await heard()
            raise
        finally:
            for message in kept:
                await send(message)

    def wrong(self, scope: Scope, body: bytes, names: Collection[str]) -> str | None:
        """Why what a page says is not passed on."""
        try:
            told = json.loads(body or b"null")
            json.dumps(told, ensure_ascii=False).encode()  # Gradio counts its sessions, and half a letter stops it
            if elsewhere(told, names):
                return "files are uploaded here"
        except (ValueError, RecursionError):
            return "it is no JSON of whole letters"
        if not scope["path"].startswith(f"{API}/queue/join"):
            return None
        number, session = (told.get("fn_index"), told.get("session_hash")) if isinstance(told, dict) else (None, None)
        if not isinstance(number, int) or number not in self.functions:
            return "the page has no such function"
        return None if isinstance(session, str) and SESSION.fullmatch(session) else "a page says which one it is"

    def refusal(self, scope: Scope, headers: MutableMapping[bytes, bytes]) -> tuple[int, str] | None:
        """Why a request does not come through."""
        if not answers(headers.get(b"host", b""), self.hosts):
            return 421, "this demo is not called so; --allow-host adds a name"
        path = scope["path"]
        if not OPEN.fullmatch(path) or scope["method"] not in (*READING, "POST"):
            return 404, "there is nothing here"
        if path.startswith(FILE):
            place = Path(unquote(path[len(FILE) :]))
            if not place.is_absolute() or not place.resolve().is_relative_to(self.folder):
                return 403, "only files of this demo are served"
        return None

    def called(self, headers: MutableMapping[bytes, bytes]) -> Collection[str]:
        """The names that addresses of this page may have; where it answers to any name, those that it was asked by."""
        asked = (headers.get(name, b"").decode("latin-1") for name in (b"host", b"x-forwarded-host"))
        return self.hosts or [name_of(one.partition(",")[0].strip()) for one in asked if one]

    def guarded(self, scope: Scope, headers: MutableMapping[bytes, bytes], send: Send) -> Send:
        """What sends the answer, with our headers, and with the nonce in every script of the page."""
        page, nonce = scope["path"] == "/" and scope["method"] == "GET", secrets.token_urlsafe(16)
        started: list[Message] = []
        body: list[bytes] = []

        async def guard(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = FILE_POLICY if scope["path"].startswith(FILE) else POLICY.format(nonce=nonce)
                ours = HEADERS | {b"content-security-policy": policy.encode()}
                if page and b"anyx=" not in headers.get(b"cookie", b""):
                    ours |= {b"set-cookie": f"anyx={secrets.token_urlsafe(24)}; HttpOnly; SameSite=Strict".encode()}
                kept = [(name, value) for name, value in message["headers"] if name.lower() not in ours]
                message["headers"] = [*kept, *ours.items()]
                if page:
                    started.append(message)
                    return
            elif page and message["type"] == "http.response.body":
                body.append(message.get("body", b""))
                if message.get("more_body"):
                    return
                text = b"".join(body).replace(b"<script", f'<script nonce="{nonce}"'.encode())
                kept = [(name, value) for name, value in started[0]["headers"] if name.lower() != b"content-length"]
                started[0]["headers"] = [*kept, (b"content-length", str(len(text)).encode())]
                await send(started[0])
                message = {"type": "http.response.body", "body": text}
            await send(message)

        return guard


def size(folder: Path) -> int:
    """Bytes of all files below a folder, of which some may go meanwhile."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                found += os.lstat(os.path.join(place, name)).st_size
    return found


async def whole(receive: Receive, most: int) -> bytes | None:
    """The body of a request; None where it is longer than allowed."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > most:
            return None
        if not message.get("more_body"):
            return body


def again(body: bytes, receive: Receive) -> Receive:
    """What receives a body that was read already, then whatever comes after it."""
    waiting = [{"type": "http.request", "body": body}]

    async def given() -> Message:
        return waiting.pop() if waiting else await receive()

    return given


def elsewhere(told: Any, names: Collection[str]) -> bool:
    """Whether a body names a file by an address that is not of a server of these names: Gradio would fetch it."""
    if isinstance(told, dict):
        local = "path" not in told or (own_path(told["path"]) and own_address(told.get("url"), names))
        return not local or any(elsewhere(one, names) for one in told.values())
    return isinstance(told, list) and any(elsewhere(one, names) for one in told)


def own_path(path: Any) -> bool:
    """Whether a file is named by a path, not by an address."""
    return path is None or (isinstance(path, str) and "://" not in path)


def own_address(url: Any, names: Collection[str]) -> bool:
    """Whether an address, if there is one, is of this page's own files, by whichever scheme a proxy speaks."""
    if not url:
        return url is None or url == ""
    origin, file, _ = url.partition(FILE) if isinstance(url, str) else ("", "", "")
    if not file or not ORIGIN.fullmatch(origin):
        return False
    return not origin or name_of(origin.partition("://")[2].lower()) in map(str.lower, names)


async def refuse(send: Send, status: int, words: str) -> None:
    """Answer in one line."""
    body = words.encode() + b"\n"
    kind = (b"content-type", b"text/plain; charset=utf-8")
    start = {"type": "http.response.start", "status": status, "headers": [kind, *HEADERS.items()]}
    await send(start | {"headers": [*start["headers"], (b"content-length", str(len(body)).encode())]})  # type: ignore[misc]
    await send({"type": "http.response.body", "body": body})
