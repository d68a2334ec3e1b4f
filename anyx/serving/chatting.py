"""`/v1/chat/completions`: what is asked, checked and answered, at once or as a stream."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from anyx.serving.content import KINDS
from anyx.serving.front import SILENCE, Answers, Finish, Front, Made
from anyx.serving.jobs import Order
from anyx.serving.problems import Problem, beyond, problem_of
from anyx.serving.replying import Cut, Shape, Shelved, chunk, event, message, now, part, usage
from anyx.serving.wire import ChatRequest

log = logging.getLogger(__name__)


class Asked(NamedTuple):
    """A request that was checked: one order a choice, the stops of the words, keys of media that come inline."""

    orders: list[Order]
    stops: list[str]
    inline: frozenset[str]


async def asked(front: Front, sent: ChatRequest) -> Asked:
    """Check a request and lay its conversation out."""
    settings = front.settings
    served(front, sent.model)
    if name := sent.beyond():
        raise beyond(name)
    for place, said in enumerate(sent.messages):
        if name := said.beyond():
            raise beyond(f"messages.{place}.{name}")
    count = choices(front, sent.n)
    own = front.engine.model.sampling
    room = sent.max_completion_tokens or sent.max_tokens or min(own.max_new_tokens, settings.tokens)
    if room > settings.tokens:
        told = f"{room} given; the most here is {settings.tokens}, and `anyx serve --most tokens=NUMBER` sets it"
        raise Problem(400, f"max_completion_tokens: {told}", param="max_completion_tokens")
    stops = [sent.stop] if isinstance(sent.stop, str) else sent.stop or []
    if len(stops) > 4 or not all(0 < len(stop) <= 256 for stop in stops):
        raise Problem(400, "stop: give one to four texts of 1 to 256 characters", param="stop")
    sampling = own.but(room, sent.temperature, sent.top_p, sent.top_k, sent.repetition_penalty)
    inline = inlined(front, sent)
    how = front.how(sent.decode)
    conversation = await front.reader.read(sent.messages)
    seed = secrets.randbelow(2**31) if sent.seed is None else sent.seed
    first = await asyncio.to_thread(front.engine.order, conversation, sampling=sampling, seed=seed, how=how)
    return Asked(several(first, count), stops, inline)


def served(front: Front, name: str | None) -> None:
    """Refuse another model's name."""
    if name is not None and name != front.settings.name:
        told = f"there is no {name[:80]!r} here; this server has {front.settings.name!r}"
        raise Problem(404, f"model: {told}", param="model", code="model_not_found")


def choices(front: Front, n: int | None) -> int:
    """How many replies are wanted."""
    if n is not None and n > front.settings.choices:
        raise Problem(400, f"n: {n} given; the most here is {front.settings.choices}", param="n")
    return n or 1


def several(order: Order, count: int) -> list[Order]:
    """The same order several times, each with a seed of its own."""
    return [order._replace(seed=(order.seed + place) % 2**63 if place else order.seed) for place in range(count)]


def inlined(front: Front, sent: ChatRequest) -> frozenset[str]:
    """Keys of outputs whose data come with the reply."""
    outputs = front.reader.outputs
    if sent.media == "inline":
        return frozenset(outputs)
    found: set[str] = set()
    for name in sent.modalities or ():
        if name != "text" and name not in outputs:
            told = f"{name[:80]!r} is not one of {', '.join(['text', *outputs])}, which this model makes"
            raise Problem(400, f"modalities: {told}", param="modalities")
        found.add(name)
    return frozenset(found - {"text"})


def shape_of(asked: Asked, sent: ChatRequest, base: str) -> Shape:
    """How media are handed out, from a server at `base`."""
    return Shape(asked.inline, lambda kept: f"{base}/media/{kept.name}", sent.audio.format if sent.audio else "wav")


def head_of(front: Front, kind: str) -> dict[str, Any]:
    """What every body and chunk of one reply begins with."""
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": now(), "model": front.settings.name,
        "system_fingerprint": None,
    }  # fmt: skip


async def whole(front: Front, answers: Answers, asked: Asked, shape: Shape) -> dict[str, Any]:
    """The reply at once."""
    said: list[list[str | Shelved]] = [[] for _ in asked.orders]
    reasons = [""] * len(asked.orders)
    async for place, one in spoken(front, answers, asked.stops):
        if isinstance(one, Finish):
            reasons[place] = one.reason
        elif one is not None:
            said[place].append(one)
    listed = [
        {
            "index": place,
            "message": await asyncio.to_thread(message, parts, shape),
            "finish_reason": reasons[place],
            "logprobs": None,
            "seed": asked.orders[place].seed,
        }
        for place, parts in enumerate(said)
    ]
    return {**head_of(front, "chat.completion"), "choices": listed, "usage": usage(answers.jobs)}


async def streamed(front: Front, answers: Answers, asked: Asked, shape: Shape, *, count: bool) -> AsyncIterator[bytes]:
    """The reply as server-sent events: words as they are said, media as they are made; an error ends them."""
    head = head_of(front, "chat.completion.chunk")
    if count:
        head["usage"] = None
    try:
        for place in range(len(asked.orders)):
            yield event(chunk(head, place, {"role": "assistant", "content": ""}))
        async for place, one in spoken(front, answers, asked.stops, silence=SILENCE):
            if one is None:
                yield b": still at it\n\n"
            elif isinstance(one, Finish):
                yield event(chunk(head, place, {}, one.reason))
            elif isinstance(one, str):
                yield event(chunk(head, place, {"content": one}))
            else:
                yield event(chunk(head, place, {"parts": [await asyncio.to_thread(part, one, shape)]}))
        if count:
            yield event({**head, "choices": [], "usage": usage(answers.jobs)})
    except Exception as error:
        problem = problem_of(error)
        if problem.status == 500:
            log.exception("a stream broke")
        yield event(problem.body())
        return
    finally:
        answers.close()
    yield b"data: [DONE]\n\n"


async def spoken(
    front: Front, answers: Answers, stops: Sequence[str], *, silence: float | None = None
) -> AsyncIterator[tuple[int, str | Shelved | Finish | None]]:
    """The events of all choices, cut at their stops, media kept."""
    cuts = [Cut(stops) for _ in answers.jobs]
    async for place, one in answers.events(silence=silence):
        cut = cuts[place]
        if one is None:
            yield place, None
        elif isinstance(one, str):
            if not cut.found and (text := cut.hear(one)):
                yield place, text
            if cut.found:
                answers.stop(place)
        elif not cut.found or isinstance(one, Finish):
            if rest := cut.rest():
                yield place, rest
            yield place, (await asyncio.to_thread(Shelved.put, front.store, one)) if isinstance(one, Made) else one


def accepted(front: Front) -> dict[str, Any]:
    """What `/v1/models` says beside OpenAI's fields: what goes in and comes out."""
    inputs, outputs = front.reader.inputs, front.reader.outputs
    types = [name for name, kind in KINDS.items() if any(port.kind is kind for port in inputs.values())]
    return {"inputs": ["text", *inputs], "outputs": ["text", *outputs], "part_types": ["text", *types, *inputs]}
