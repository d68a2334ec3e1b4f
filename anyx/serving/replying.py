"""Replies in OpenAI's form: bodies, chunks of a stream, and media as parts with an address or the data itself."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from anyx.media import Audio, Image, Video
from anyx.serving.front import Made
from anyx.serving.jobs import Job
from anyx.serving.sounds import encoded
from anyx.serving.store import Kept, Store

NAMES: Mapping[type[Any], str] = {Image: "image_url", Audio: "audio_url", Video: "video_url"}


class Shape(NamedTuple):
    """How media are handed out: keys of which the data come along, where files are fetched, how sounds are encoded."""

    inline: frozenset[str]
    address: Callable[[Kept], str]
    sound: str = "wav"


class Shelved(NamedTuple):
    """A medium that was made, and the file that is kept of it."""

    made: Made
    kept: Kept

    @classmethod
    def put(cls, store: Store, made: Made) -> Shelved:
        """Keep a medium."""
        return cls(made, store.keep(made.medium))


def part(shelved: Shelved, shape: Shape) -> dict[str, Any]:
    """A medium as a part of a message; an output whose kind OpenAI has no name for goes by its key."""
    (key, medium), kept = shelved
    name = NAMES.get(type(medium), key)
    url = shape.address(kept)
    if key in shape.inline:
        url = f"data:{kept.type};base64,{base64.b64encode(kept.data).decode('ascii')}"
    said = {"id": kept.name, "key": key, "content_type": kept.type, "expires_at": kept.expires}
    return {"type": name, name: {"url": url}, **said}


def message(said: Sequence[str | Shelved], shape: Shape) -> dict[str, Any]:
    """A whole reply; `parts` are there where media are, and `audio` where one sound is."""
    text = "".join(one for one in said if isinstance(one, str))
    whole: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    media = [one for one in said if isinstance(one, Shelved)]
    if media:
        whole["parts"] = [
            {"type": "text", "text": one} if isinstance(one, str) else part(one, shape) for one in joined(said)
        ]
    sounds = [one for one in media if isinstance(one.made.medium, Audio)]
    if len(sounds) == 1:
        whole["audio"] = spoken(sounds[0], text, shape)
    return whole


def spoken(shelved: Shelved, transcript: str, shape: Shape) -> dict[str, Any]:
    """A sound as OpenAI's `message.audio`."""
    sound = shelved.made.medium
    assert isinstance(sound, Audio)
    data = encoded(sound, {"pcm16": "pcm"}.get(shape.sound, shape.sound))
    return {
        "id": shelved.kept.name,
        "data": base64.b64encode(data).decode("ascii"),
        "expires_at": shelved.kept.expires,
        "transcript": transcript,
    }


def joined(said: Sequence[str | Shelved]) -> list[str | Shelved]:
    """Neighbouring words as one."""
    found: list[str | Shelved] = []
    for one in said:
        if isinstance(one, str) and found and isinstance(found[-1], str):
            found[-1] += one
        elif one != "":
            found.append(one)
    return found


def usage(jobs: Sequence[Job]) -> dict[str, int]:
    """Tokens that were read and said; a prompt that was answered several times is counted once."""
    read, said = max((job.read for job in jobs), default=0), sum(job.said for job in jobs)
    return {"prompt_tokens": read, "completion_tokens": said, "total_tokens": read + said}


def chunk(head: Mapping[str, Any], place: int, delta: Mapping[str, Any], reason: str | None = None) -> dict[str, Any]:
    """One chunk of a stream."""
    return {**head, "choices": [{"index": place, "delta": delta, "finish_reason": reason, "logprobs": None}]}


def event(data: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data).encode("ascii") + b"\n\n"


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


class Cut:
    """Words up to the first of some stops; what may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = [stop for stop in stops if stop]
        self.held = ""
        self.found = False

    def hear(self, text: str) -> str:
        """The words that are certain now."""
        self.held += text
        at = min((place for stop in self.stops if (place := self.held.find(stop)) >= 0), default=-1)
        if at >= 0:
            self.found, certain, self.held = True, self.held[:at], ""
            return certain
        lengths = (n for stop in self.stops for n in range(len(stop) - 1, 0, -1) if self.held.endswith(stop[:n]))
        keep = max(lengths, default=0)
        certain, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return certain

    def rest(self) -> str:
        """What was held back, since no more words follow it."""
        certain, self.held = self.held, ""
        return certain
