"""Decoders one after the other, at once, and behind a queue: the same media."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import tiny
import torch
from components import UNET_2D, VAE

from anyx.media import Image
from anyx.model import AnyX
from anyx.ports import Making
from anyx.registry import resolve
from anyx.speaking.making import Asked, DecodingQueue, Studio


def model() -> AnyX:
    """A diffusion decoder and a tiny one."""
    torch.manual_seed(0)
    made = tiny.anyx()
    unet = UNET_2D | {"cross_attention_dim": 5}
    made.outputs["image"].decoder = resolve("decoders", "stable_diffusion")(vae=VAE, unet=unet, length=3).eval()
    return made


def wanted(llm: Any) -> list[Asked]:
    """Two outputs, two ways of making one of them."""
    torch.manual_seed(1)
    two, small = Making(steps=2), Making(steps=2, more={"size": [16, 16]})
    ways = [("image", two), ("audio", Making()), ("image", small), ("image", Making(steps=2)), ("audio", Making())]
    return [
        Asked(key, torch.randn(len(llm.groups[key]), llm.dim), seed, number, how)
        for number, (seed, (key, how)) in enumerate(enumerate(ways))
    ]


def close(one: Any, other: Any) -> bool:
    """Equal but for the rounding of a batch of another size."""
    if isinstance(one, Image):
        return one.size == other.size and bool((one.pixels.int() - other.pixels.int()).abs().max() <= 1)
    return torch.allclose(one.samples, other.samples, atol=1e-5)


def test_outputs_at_once_are_the_same_media_in_order() -> None:
    made = model()
    asked, threads = wanted(made.llm), torch.get_num_threads()
    alone = [Studio(made).make([one])[0] for one in asked]
    for studio in (Studio(made), Studio(made, concurrent=True)):
        media = studio.make(asked)
        assert all(map(close, media, alone))
        assert [type(one) for one in media] == [type(one) for one in alone]
    assert torch.get_num_threads() == threads
    assert made.outputs["audio"].decoder.batches[-2:] == [2, 2]
    assert Studio(made).make([]) == []


def void(_: object) -> None:
    """What a hook gives back that changes nothing."""


def test_outputs_run_at_once() -> None:
    """Each decoder waits for the other to have begun: one after the other they would never end."""
    made = tiny.anyx()
    meeting = threading.Barrier(2, timeout=20)
    for port in made.outputs.values():
        port.decoder.register_forward_pre_hook(lambda *_: void(meeting.wait()))
    asked = [Asked(key, torch.randn(len(ids), made.llm.dim), 0) for key, ids in made.llm.groups.items()]
    assert len(Studio(made, concurrent=True).make(asked)) == 2


def test_latents_are_not_mixed() -> None:
    states = torch.zeros(3, 4)
    ways = [Making(more={"latents": torch.zeros(1)}) for _ in range(2)]
    one, same, other = (Asked("image", states, 0, 0, way) for way in (ways[0], ways[0], ways[1]))
    assert one.goes_with(same)
    assert not one.goes_with(other)
    assert not one.goes_with(same._replace(key="audio"))


def test_a_queue_makes_one_batch_of_what_threads_ask_for() -> None:
    made = tiny.anyx()
    asked = [Asked("image", torch.randn(3, made.llm.dim), seed) for seed in range(6)]
    alone = Studio(made).make(asked)
    made.outputs["image"].decoder.batches.clear()
    with DecodingQueue(made, window=1.0, most=6) as queue, ThreadPoolExecutor(6) as pool:
        media = list(pool.map(lambda one: queue.make([one])[0], asked))
    assert made.outputs["image"].decoder.batches == [6]
    assert all(map(close, media, alone))
    made.outputs["image"].decoder.batches.clear()
    with DecodingQueue(made, window=0.2, most=4) as queue:
        assert all(map(close, queue.make(asked), alone))
    assert made.outputs["image"].decoder.batches == [4, 2]
    with pytest.raises(ValueError, match="the decoding queue is closed"):
        queue.make(asked)


def test_an_error_is_its_caller_s_alone() -> None:
    made = model()
    good = Asked("image", torch.randn(3, made.llm.dim), 1, 0, Making(steps=1))
    bad = good._replace(states=torch.randn(2, made.llm.dim))
    with DecodingQueue(made, window=0.5, most=2) as queue:
        futures = [queue.submit(one) for one in (good, bad)]
        assert isinstance(futures[0].result(), Image)
        with pytest.raises((RuntimeError, ValueError)):
            futures[1].result()
    made.outputs["image"].decoder = None
    with DecodingQueue(made) as queue, pytest.raises(ValueError, match="its decoder is not loaded"):
        queue.make([good])
    with pytest.raises(ValueError, match=r"window: -1 and most: 0 given"):
        DecodingQueue(made, window=-1, most=0)


def test_sessions_of_several_threads_share_a_queue() -> None:
    """Each of them says what it says alone."""
    torch.manual_seed(3)
    made = tiny.anyx(tied=False)
    with torch.no_grad():
        made.llm.signal_tokens.head.mul_(2.0)
    chats = [[{"role": "user", "content": f"draw {word}"}] for word in ("a fox", "a cow", "two", "more of it")]
    alone = [made.chat(chat, max_new_tokens=12, seeds=seed) for seed, chat in enumerate(chats)]
    assert any(set(reply.keys) - {"text"} for reply in alone)
    with DecodingQueue(made, window=0.05) as queue, ThreadPoolExecutor(4) as pool:
        told = list(
            pool.map(
                lambda pair: made.session(max_new_tokens=12, maker=queue).say(pair[1], seed=pair[0]), enumerate(chats)
            )
        )
    for one, other in zip(told, alone, strict=True):
        assert one.keys == other.keys
        assert all(a == b if isinstance(a, str) else close(a, b) for a, b in zip(one.parts, other.parts, strict=True))
