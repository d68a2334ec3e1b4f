"""Requests side by side: the same replies as alone, each its own errors, its own end, and its place in the queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
from live import LONG, WORDS, anyworld, until, user

from anyx.decoding import Sampling
from anyx.media import Image
from anyx.model import AnyX
from anyx.ports import makings
from anyx.reply import Reply
from anyx.serving.engine import Busy, Closing, Engine
from anyx.serving.jobs import Item, Job, Order, items
from anyx.watching import Cancelled

ASKED = [f"draw {WORDS}", "how are you?", f"play {WORDS}", "hi.", f"animate {WORDS}"]


@pytest.fixture(scope="module")
def model() -> AnyX:
    return anyworld()


@pytest.fixture
def sizes() -> list[int]:
    return []


@pytest.fixture
def engine(model: AnyX, sizes: list[int]) -> Iterator[Engine]:
    with Engine(model, window=0.2, queue=8, on_batch=sizes.append) as made:
        yield made


def asked(engine: Engine, orders: list[Order]) -> tuple[list[Job], list[SimpleQueue[Item]]]:
    inboxes: list[SimpleQueue[Item]] = [SimpleQueue() for _ in orders]
    return engine.submit(orders, lambda place, item: inboxes[place].put(item)), inboxes


def reply(inbox: SimpleQueue[Item]) -> Reply:
    """A whole reply, waited for."""
    said = list(items(lambda: inbox.get(timeout=60)))
    parts = [one if isinstance(one, str) else one[1] for one in said]
    return Reply(parts, ["text" if isinstance(one, str) else one[0] for one in said])


def long(engine: Engine, seed: int = 0) -> Order:
    """Seconds of denoising."""
    return engine.order(user(f"animate {WORDS}"), seed=seed, how=makings(LONG, engine.model.outputs))


def alike(one: Any, other: Any) -> bool:
    """Whether media are the same up to the rounding of a batch of another size."""
    if isinstance(one, Image):
        return int((one.pixels.int() - other.pixels.int()).abs().max()) <= 1
    return type(one) is type(other)


def test_replies_side_by_side_are_those_of_one_alone(engine: Engine, model: AnyX, sizes: list[int]) -> None:
    alone = [model.chat(user(words), seeds=seed) for seed, words in enumerate(ASKED)]
    orders = [engine.order(user(words), seed=seed) for seed, words in enumerate(ASKED)]
    found = [reply(inbox) for inbox in asked(engine, orders)[1]]
    assert sizes == [len(ASKED)]
    assert [one.text for one in found] == [one.text for one in alone]
    assert [one.keys for one in found] == [one.keys for one in alone]
    pairs = zip(found, alone, strict=True)
    assert all(alike(a, b) for one, two in pairs for a, b in zip(one.parts, two.parts, strict=True))
    assert engine.drain(10)


def test_each_row_has_as_many_tokens_as_it_wants_and_others_speak_apart(engine: Engine, sizes: list[int]) -> None:
    short, warm = Sampling(2), Sampling(temperature=1.0)
    orders = [engine.order(user("how are you?"), sampling=one) for one in (short, Sampling(), warm)]
    jobs, inboxes = asked(engine, orders)
    found = [reply(inbox).text for inbox in inboxes]
    assert sizes == [2, 1]
    assert (found[1], jobs[1].full, jobs[0].full, jobs[0].said) == ("i am well.", False, True, 2)
    assert found[1].startswith(found[0])
    assert len(found[0]) < len(found[1])


def test_words_do_not_wait_for_the_media_of_others(engine: Engine) -> None:
    (slow,), (film,) = asked(engine, [long(engine)])
    until(lambda: slow.ended)
    reply(asked(engine, [engine.order(user("hi."))])[1][0])
    assert slow in engine.alive
    engine.cancel(slow)
    with pytest.raises(Cancelled):
        reply(film)
    until(lambda: not engine.alive)


def test_one_that_fails_is_its_own_error(engine: Engine, model: AnyX, sizes: list[int]) -> None:
    good, bad = engine.order(user("hi.")), engine.order([{"role": "user", "content": [picture(), text("name it.")]}])
    (received,) = bad.sample.received
    broken = received._replace(tensors={name: tensor[:, :1] for name, tensor in received.tensors.items()})
    sent = [good, bad._replace(sample=bad.sample._replace(received=[broken])), bad]
    inboxes = asked(engine, sent)[1]
    assert reply(inboxes[0]).text == model.chat(user("hi.")).text
    with pytest.raises(Exception, match=r".") as error:
        reply(inboxes[1])
    assert not isinstance(error.value, Cancelled)
    assert reply(inboxes[2]).text
    with pytest.raises(ValueError, match="tokens given; the model reads 255 at most"):
        engine.order(user("red " * 300))
    assert engine.drain(10)


def picture() -> dict[str, Any]:
    return {"type": "image", "media": Image.read(__import__("numpy").zeros((48, 48, 3), "uint8"))}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_all_of_a_request_are_taken_or_none(model: AnyX) -> None:
    with Engine(model, most=1, window=0, queue=1) as engine:
        jobs, _ = asked(engine, [long(engine), long(engine, 1)])
        with pytest.raises(Busy) as busy:
            asked(engine, [engine.order(user("hi."))])
        assert busy.value.after >= 1
        assert len(engine.alive) == 2
        for job in jobs:
            engine.cancel(job)
        until(lambda: not engine.alive)
        assert reply(asked(engine, [engine.order(user("hi."))])[1][0]).text
        with pytest.raises(Busy):
            asked(engine, [engine.order(user("hi."))] * 3)
        assert not engine.alive


def test_one_that_waits_leaves_the_queue_at_once(model: AnyX) -> None:
    with Engine(model, most=8, window=30) as engine:
        (job,), (inbox,) = asked(engine, [engine.order(user("hi."))])
        warm = engine.order(user("hi."), sampling=Sampling(temperature=1.0))
        (other,), (later,) = asked(engine, [warm])
        until(lambda: engine.waiting == 1)  # the other one is taken, and waits for company
        engine.cancel(other)
        with pytest.raises(Cancelled):
            reply(later)
        assert engine.waiting == 0
        assert other not in engine.alive
        began = time.monotonic()
        engine.cancel(job)
        threading.Thread(target=engine.close).start()
        with pytest.raises(Cancelled):
            reply(inbox)
        assert time.monotonic() - began < 10


def test_a_cancelled_reply_stops_while_its_film_is_made(engine: Engine) -> None:
    (job,), (inbox,) = asked(engine, [long(engine)])
    until(lambda: any(one.part == "make" and one.done > 2 for one in job.watch.happened))
    engine.cancel(job)
    began = time.monotonic()
    with pytest.raises(Cancelled):
        reply(inbox)
    until(lambda: not engine.alive)
    assert time.monotonic() - began < 5
    assert max(one.done for one in job.watch.happened if one.part == "make") < 200


def test_an_engine_that_ends_answers_what_it_has_and_takes_nothing(model: AnyX) -> None:
    engine = Engine(model, window=0)
    order = engine.order(user(f"draw {WORDS}"))
    inbox = asked(engine, [order])[1][0]
    assert engine.drain(30)
    assert reply(inbox).keys == ["text", "image"]
    with pytest.raises(Closing):
        asked(engine, [order])
    engine.close()
    assert not engine.working
    with pytest.raises(ValueError, match="most: 0"):
        Engine(model, most=0)
