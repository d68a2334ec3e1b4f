"""`/v1/images/generations` and `/v1/audio/speech`: one medium, asked for in the words that the model knows."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from typing import Any, TypeVar

from anyx.media import Audio, Image, Video
from anyx.serving.chatting import choices, served, several
from anyx.serving.content import legible
from anyx.serving.front import Event, Front, Made
from anyx.serving.jobs import Order
from anyx.serving.most import side
from anyx.serving.problems import Problem, beyond
from anyx.serving.settings import ASKS
from anyx.serving.wire import ImagesRequest, SpeechRequest

Kind = TypeVar("Kind", Audio, Image, Video)
SIZE = re.compile(r"(?P<width>[1-9]\d{0,4})x(?P<height>[1-9]\d{0,4})", re.ASCII)


def output(front: Front, kind: type[Any]) -> str:
    """The key of the first output of a kind."""
    found = next((key for key, port in front.reader.outputs.items() if port.kind is kind), None)
    if found is None:
        told = f"this model makes {', '.join(['text', *front.reader.outputs])}"
        raise Problem(404, f"there is nothing here that makes {kind.__name__.lower()}: {told}", code="no_such_output")
    return found


def form(front: Front, key: str) -> str:
    """How the model is asked for output `key`: as the settings say, or the model's YAML, or in plain English."""
    config = front.engine.model.config
    own = None if config is None else config.outputs[key].ask
    return front.settings.asks.get(key) or own or ASKS.get(front.reader.outputs[key].kind, "{prompt}")


async def order(front: Front, key: str, words: str, seed: int | None, decode: dict[str, Any] | None) -> Order:
    """A request for a medium of output `key`."""
    settings = front.settings
    if len(words) > settings.characters:
        raise Problem(400, f"prompt: {len(words)} characters given; at most {settings.characters} are read")
    text = form(front, key).replace("{prompt}", legible(words.strip().rstrip("."), "prompt"))
    chosen = secrets.randbelow(2**31) if seed is None else seed
    how = front.how({key: decode} if decode else None)
    own = front.engine.model.sampling
    sampling = own.but(min(own.max_new_tokens, settings.tokens))
    chat = [{"role": "user", "content": text}]
    return await asyncio.to_thread(front.engine.order, chat, sampling=sampling, seed=chosen, how=how)


async def images(front: Front, sent: ImagesRequest) -> list[Order]:
    """Orders of `n` pictures."""
    served(front, sent.model)
    if name := sent.beyond():
        raise beyond(name)
    key, decode = output(front, Image), dict(sent.decode or {})
    if sent.size not in (None, "auto"):
        size = SIZE.fullmatch(sent.size)
        if size is None:
            raise Problem(400, f"size: {sent.size!r} given; it is auto, or WIDTHxHEIGHT", param="size")
        decode["size"] = [int(size["height"]), int(size["width"])]
        if told := front.settings.beyond("size", decode["size"], side(front.engine.model.outputs[key].known)):
            raise Problem(400, f"size: {sent.size} given; {told}", param="size")
    return several(await order(front, key, sent.prompt, sent.seed, decode), choices(front, sent.n))


async def speech(front: Front, sent: SpeechRequest) -> list[Order]:
    """The order of one sound."""
    served(front, sent.model)
    if name := sent.beyond():
        raise beyond(name)
    return [await order(front, output(front, Audio), sent.input, sent.seed, sent.decode)]


def first(front: Front, events: Sequence[Event], kind: type[Kind]) -> Kind:
    """The first medium of a kind in a reply; `Problem` where the model did not make one."""
    for one in events:
        if isinstance(one, Made) and isinstance(one.medium, kind):
            return one.medium
    text = "".join(one for one in events if isinstance(one, str))[:200]
    key = output(front, kind)
    told = f"the model was asked {form(front, key)!r} and answered without one: {text!r}"
    words = f'where it wants other words, `anyx serve --ask {key}="... {{prompt}} ..."` says them'
    raise Problem(422, f"no {kind.__name__.lower()} was made; {told}; {words}", code="no_media")
