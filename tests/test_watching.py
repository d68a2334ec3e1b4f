"""What a watch hears of a reply, and how it stops one."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import tiny
import torch

from anyx.media import Image
from anyx.model import AnyX
from anyx.reply import TextEvent
from anyx.speaking.making import Asked, DecodingQueue
from anyx.watching import Cancelled, Happening, Watch, watches_of

ASKED = [{"role": "user", "content": [{"type": "image", "media": Image(torch.zeros(3, 4, 4, dtype=torch.uint8))}]}]


def eager_to_show(by: float = 100.0) -> AnyX:
    """A model that opens a signal group of pictures at once, and again and again; -100: one that shows nothing."""
    torch.manual_seed(0)
    made = tiny.anyx()
    openers, plain = [ids[0] for ids in made.llm.groups.values()], made.llm.logits

    def logits(states: torch.Tensor) -> torch.Tensor:
        scores = plain(states)
        scores[:, openers if by < 0 else openers[0]] += by
        return scores

    made.llm.logits = logits  # type: ignore[method-assign]
    return made


def test_a_watch_hears_every_part_in_order() -> None:
    heard: list[Happening] = []
    watch = Watch(heard.append)
    reply = eager_to_show().chat(ASKED, max_new_tokens=6, decode={"image": {"steps": 3}}, watch=watch)
    assert reply.keys == ["image", "image"]
    names = [(one.part, one.key, one.number) for one in watch.took()]
    assert names[:3] == [("encode", "image", 0), ("read", None, 0), ("say", None, 0)]
    assert {("signal", "image", 0), ("signal", "image", 1), ("make", "image", 0), ("make", "image", 1)} <= {*names}
    assert [one.done for one in heard if one.part == "make" and one.number == 1] == [0, 1, 2, 3, 3]
    assert [one.at for one in heard] == sorted(one.at for one in heard)
    assert heard == watch.happened
    amounts = {(one.part, one.number): one.amount for one in watch.took()}
    assert amounts["say", 0] == 6
    assert amounts["signal", 1] == 3
    assert amounts["make", 0] == 3


def test_a_cancelled_reply_ends_before_its_next_token_or_step() -> None:
    model, watch = eager_to_show(), Watch()
    watch.cancel()
    with pytest.raises(Cancelled):
        model.chat(ASKED, watch=watch)

    steps: list[int] = []

    def stop(now: Happening) -> None:
        if now.part == "make":
            steps.append(now.done)
            if now.done == 2:
                late.cancel()

    late = Watch(stop)
    with pytest.raises(Cancelled):
        model.chat(ASKED, max_new_tokens=3, decode={"image": {"steps": 50}}, watch=late)
    assert steps == [0, 1, 2]


def test_a_session_forgets_a_cancelled_turn_and_goes_on() -> None:
    model = eager_to_show(-100)
    session, watch = model.session(max_new_tokens=12, repetition_penalty=3.0), Watch()
    session.say("Draw")
    before = list(session.messages)
    events = session.stream("a red fox, please.", watch=watch)
    assert isinstance(next(events), TextEvent)
    watch.cancel()
    with pytest.raises(Cancelled):
        next(events)
    assert session.messages == before
    assert (
        session.say("a sound").parts
        == model.chat(
            [*before, {"role": "user", "content": "a sound"}], max_new_tokens=12, repetition_penalty=3.0
        ).parts
    )


def test_one_cancelled_row_leaves_its_neighbours_alone() -> None:
    model = eager_to_show(-100)
    chats = [[{"role": "user", "content": words}] for words in ("Draw a fox", "what do you hear", "system")]
    alone = model.generate(chats, max_new_tokens=10, repetition_penalty=3.0)
    watches = [Watch(), Watch(), Watch()]
    heard: dict[int, str] = {0: "", 1: "", 2: ""}
    for event in model.stream(chats, max_new_tokens=10, repetition_penalty=3.0, watch=watches):
        assert isinstance(event, TextEvent)
        heard[event.row] += event.text
        if event.row == 1:
            watches[1].cancel()
    assert heard[0] == alone[0].text
    assert heard[2] == alone[2].text
    assert alone[1].text.startswith(heard[1])
    assert 0 < len(heard[1]) < len(alone[1].text)
    with pytest.raises(ValueError, match="watch: 2 given for 3 conversations"):
        watches_of(watches[:2], 3)


def test_a_cancelled_wait_in_the_queue_ends_at_once() -> None:
    made = eager_to_show()
    decoder, begun, gate = made.outputs["image"].decoder, threading.Event(), threading.Event()
    plain = decoder.forward

    def slow(*given: Any, **more: Any) -> Any:
        begun.set()
        gate.wait(10)
        return plain(*given, **more)

    decoder.forward = slow
    states = torch.zeros(3, made.llm.dim)
    with DecodingQueue(made, window=0, most=1) as queue:
        queue.submit(Asked("image", states, 0))
        assert begun.wait(10)
        watch = Watch()
        threading.Timer(0.2, watch.cancel).start()
        began = time.perf_counter()
        with pytest.raises(Cancelled):
            queue.make([Asked("image", states, 1, watch=watch)])
        assert time.perf_counter() - began < 5
        gate.set()
    assert decoder.batches == [1]  # the cancelled one was never made
