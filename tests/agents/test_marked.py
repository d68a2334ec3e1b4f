"""Set-of-mark prompting as a run, on a drawn picture whose regions are known."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import tiny
import torch
from scripted import Script
from tiny_tools import picture
from torch import Tensor

from anyx.agents.loop import Bounds
from anyx.agents.marked import MarksAgent
from anyx.agents.talkers import AnyXTalker
from anyx.decoding import Sampling
from anyx.grounding.boxes import Box
from anyx.media import Image
from anyx.tools.marks import Marker
from anyx.watching import Watch

PICTURE = picture(120, 90, (10, 10, 50, 60), (70, 20, 110, 80))


class Ink:
    """Cuts out what is black and what is red: a segmenter of drawn pictures."""

    name = "ink"

    def __call__(self, image: Image, boxes: Sequence[Box] | None = None) -> Tensor:
        red, green, _ = image.pixels.int()
        return torch.stack([(red < 50), (red > 150) & (green < 50)])


def test_marks_that_a_reply_names_are_regions() -> None:
    """Red is 40 x 60 pixels, the larger, and is 1; black is 40 x 50 and is 2. No region is 7."""
    talker = Script("The black one is [2], next to [1], not [7].", reads=["image"])
    trace = MarksAgent(talker, Marker(Ink())).answer("Which is black?", [PICTURE])
    assert [step.kind for step in trace.steps] == ["asked", "action", "result", "value"]
    assert trace.steps[2].text == "2 regions are marked"
    assert trace.steps[-1].data == {
        "regions": [
            {"mark": 2, "box": [0.0833, 0.1111, 0.4167, 0.6667], "pixels": 2000},
            {"mark": 1, "box": [0.5833, 0.2222, 0.9167, 0.8889], "pixels": 2400},
        ],
        "unknown": 1,
    }
    asked = talker.sent[0][0]["content"]
    assert asked[0]["media"] is trace.media["<image 2>"]
    assert not torch.equal(asked[0]["media"].pixels, PICTURE.pixels)
    assert asked[1]["text"].endswith("Name a region by its number in brackets, as [2].\nWhich is black?")


def test_a_real_model_is_shown_the_marked_picture() -> None:
    talker = AnyXTalker(tiny.anyx(decoders=False), sampling=Sampling(max_new_tokens=6))
    steps = list(MarksAgent(talker, Marker(Ink())).run("Which?", [PICTURE]))
    assert steps[-1].kind == "value"
    assert "".join(step.text for step in steps if step.kind == "words") == steps[-1].text


@pytest.mark.parametrize("media", [[], [PICTURE, PICTURE]])
def test_one_picture_is_asked_about(media: Any) -> None:
    with pytest.raises(ValueError, match=f"style: marks asks about one picture, but {len(media)} media were given"):
        MarksAgent(Script("", reads=["image"]), Marker(Ink())).answer("?", media)


def test_a_model_that_sees_nothing() -> None:
    with pytest.raises(ValueError, match="style: marks needs a model that reads pictures; script reads words alone"):
        MarksAgent(Script(""), Marker(Ink()))


def test_what_ends_it() -> None:
    class Broken(Ink):
        def __call__(self, image: Image, boxes: Sequence[Box] | None = None) -> Tensor:
            raise RuntimeError("secret")

    trace = MarksAgent(Script("", reads=["image"]), Marker(Broken())).answer("?", [PICTURE])
    assert trace.steps[-1].text == "the picture could not be marked: mark failed: RuntimeError"
    slow = MarksAgent(Script("a" * 900, reads=["image"], pause=0.02), Marker(Ink()), Bounds(seconds=0.5))
    assert slow.answer("?", [PICTURE]).steps[-1].text == "the 0.5 s are over"
    watch = Watch()
    threading.Timer(0.2, watch.cancel).start()
    slow = MarksAgent(Script("a" * 900, reads=["image"], pause=0.02), Marker(Ink()))
    assert slow.answer("?", [PICTURE], watch=watch).steps[-1].text == "cancelled"
