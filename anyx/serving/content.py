"""Messages in OpenAI's form as conversations of ours; every medium passes the intake.

A part's type is a key of the model's inputs (`depth`), or OpenAI's name for a kind (`image_url`), which means the first
input of that kind. Its medium is a data URL, base64, or the address of one that this server made and still keeps.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from anyx.media import Audio, Image, Kind, Video
from anyx.serving.intake import Intake
from anyx.serving.problems import Problem
from anyx.serving.settings import Settings
from anyx.serving.store import Store
from anyx.serving.wire import Message, Part
from anyx.serving.words import hold

KINDS: Mapping[str, Kind] = {
    "image_url": Image,
    "input_image": Image,
    "input_audio": Audio,
    "audio_url": Audio,
    "video_url": Video,
    "input_video": Video,
}
WORDS = ("text", "input_text", "output_text")
READING = 16  # threads that wait for workers and for other hosts
OURS = re.compile(r"(?:https?://[^/?#]+)?/media/(?P<name>[\w-]{16,64})", re.ASCII)


class Port(Protocol):
    """What is asked of a model's inputs and outputs."""

    kind: type[Any]


class Reader:
    """Reads what clients of one model send; of several threads at once."""

    def __init__(
        self,
        inputs: Mapping[str, Port],
        outputs: Mapping[str, Port],
        *,
        intake: Intake,
        store: Store,
        settings: Settings,
    ) -> None:
        self.inputs, self.outputs = inputs, outputs
        self.intake, self.store, self.settings = intake, store, settings
        self._files = ThreadPoolExecutor(READING, thread_name_prefix="anyx-read")

    async def read(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The conversation, read in a thread: files have threads of their own, so that words never wait for them."""
        files = any(part.type not in WORDS for message in messages for part in parts_of(message))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._files if files else None, self.conversation, messages)

    def close(self) -> None:
        """Read no files any more."""
        self._files.shutdown(wait=False, cancel_futures=True)

    def conversation(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        """The conversation; `Problem` or `Refused` for what is too much or not readable."""
        if len(messages) > self.settings.messages:
            told = f"{len(messages)} messages given; at most {self.settings.messages} are read"
            raise Problem(400, f"messages: {told}", param="messages")
        listed = [(place, message, list(parts_of(message))) for place, message in enumerate(messages)]
        count = sum(len(parts) for *_, parts in listed)
        if count > self.settings.parts + len(messages):
            raise Problem(
                400, f"messages: {count} parts given; at most {self.settings.parts} are read", param="messages"
            )
        letters = sum(len(part.text or "") for *_, parts in listed for part in parts)
        if letters > self.settings.characters:
            told = f"{letters} characters given; at most {self.settings.characters} are read"
            raise Problem(400, f"messages: {told}", param="messages")
        made: list[dict[str, Any]] = [
            {
                "role": "system" if message.role == "developer" else message.role,
                "content": [
                    self._part(part, message.role == "assistant", f"messages.{place}.content") for part in parts
                ],
            }
            for place, message, parts in listed
        ]
        hold(made, [port.kind for port in self.inputs.values()])  # whatever is changed above, no part opens a file
        return made

    def _part(self, part: Part, speaks: bool, where: str) -> dict[str, Any]:
        if part.type in WORDS:
            if part.text is None:
                raise Problem(400, f"{where}: a part of type {part.type!r} has a text", param=where)
            return {"type": "text", "text": legible(part.text, where)}
        key = key_of(part.type, self.outputs if speaks else self.inputs, where)
        if speaks:  # what the model has shown is known by its place alone
            return {"type": key}
        return {"type": key, "media": self.intake.read(self.inputs[key].kind, self._bytes(part, where))}

    def _bytes(self, part: Part, where: str) -> bytes:
        more: dict[str, Any] = part.model_extra or {}
        names = [part.type, *KINDS, "url", "data"]
        given = next((more[name] for name in names if more.get(name) is not None), None)
        if "data" in more and given is more["data"]:
            given = {"data": given}
        if isinstance(given, Mapping):
            data, url = given.get("data"), given.get("url")
            if isinstance(data, str) and not data.startswith("data:"):
                return self.intake.fetch(f"data:application/octet-stream;base64,{data}")
            given = data if url is None else url
        if not isinstance(given, str):
            example = f'{{"type": "{part.type}", "{part.type}": {{"url": "data:...;base64,..."}}}}'
            raise Problem(400, f"{where}: a medium is sent as {example}", param=where)
        if ours := OURS.fullmatch(given[:2048]):
            kept = self.store.get(ours["name"])
            if kept is None:
                raise Problem(404, f"{where}: this medium is not kept here any more", param=where, code="expired")
            return kept.data
        return self.intake.fetch(given)


def parts_of(message: Message) -> Iterator[Part]:
    """The parts of a turn; of the assistant's own those that this server gave it."""
    if message.role == "assistant" and message.parts is not None:
        yield from message.parts
        return
    if isinstance(message.content, str):
        yield Part(type="text", text=message.content)
    else:
        yield from message.content or ()
    if message.role == "assistant" and message.audio:
        yield Part(type="audio_url")


def key_of(name: str, ports: Mapping[str, Port], where: str) -> str:
    """The key of an input or output that a part's type means."""
    if name in ports:
        return name
    found = next((key for key, port in ports.items() if port.kind is KINDS.get(name)), None)
    if found is None:
        known = ", ".join(["text", *(type for type, kind in KINDS.items() if kind in kinds(ports)), *ports])
        raise Problem(400, f"{where}: {name!r} is not one of {known}, which this model knows", param=where)
    return found


def kinds(ports: Mapping[str, Port]) -> set[type[Any]]:
    """The kinds of media that ports have."""
    return {port.kind for port in ports.values()}


def legible(text: str, where: str) -> str:
    """A text, refused where it holds half a letter (a lone surrogate), which no bytes say."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Problem(400, f"{where}: the text holds half of a surrogate pair", param=where) from None
    return text
