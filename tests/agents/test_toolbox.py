"""Calls of real functions: what they are given, what becomes of their errors, and of those that hang."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from scripted import add, broken, corner, invert

from anyx.agents.interfaces import Call, Gallery
from anyx.agents.toolbox import Toolbox
from anyx.media import Audio, Image
from anyx.watching import Cancelled, Watch


@pytest.fixture
def gallery() -> Gallery:
    found = Gallery()
    found.add(Image(torch.zeros(3, 4, 6, dtype=torch.uint8)), asked=True)
    found.add(Audio(torch.zeros(1, 8), 8), asked=True)
    return found


def test_a_call(gallery: Gallery) -> None:
    box = Toolbox([add, invert, corner])
    assert list(box) == ["add", "invert", "corner"]
    assert box.run(Call("add", {"a": "2", "b": 3}), gallery).text == "5"
    result = box.run(Call("invert", {"image": "image 1"}), gallery)
    assert result.text == "turned around"
    assert isinstance(result.media[0], Image)
    assert int(result.media[0].pixels.min()) == 255
    assert box.run(Call("corner", {"image": "<image 1>"}), gallery).boxes[0].box == (0, 0, 3, 2)


def test_handles_count_each_kind(gallery: Gallery) -> None:
    assert gallery.add(Image(torch.zeros(3, 1, 1, dtype=torch.uint8))) == "<image 2>"
    assert list(gallery.media) == ["<image 1>", "<audio 1>", "<image 2>"]


def test_a_picture_that_is_not_named(gallery: Gallery) -> None:
    """It is the last one the user sent where that is meant, and an error where not; never one that a tool made."""
    gallery.add(Image(torch.ones(3, 9, 9, dtype=torch.uint8)))
    box = Toolbox([invert])
    assert box.run(Call("invert", {}), gallery, implied=True).media[0].pixels.shape == (3, 4, 6)  # type: ignore[union-attr]
    assert box.run(Call("invert", {}), gallery).error == "invert takes image: 'image' is missing"
    assert "there is no image yet" in (box.run(Call("invert", {}), Gallery(), implied=True).error or "")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (Call("ad", {}), "there is no tool 'ad'. Did you mean: 'add'? Tools: add, invert, broken"),
        (Call("add", {}), "add takes a, b: 'a' is missing"),
        (Call("invert", {"image": "<image 7>"}), "'<image 7>' is no image of this conversation; it has: <image 1>"),
        (Call("invert", {"image": "<audio 1>"}), "'<audio 1>' is no image of this conversation; it has: <image 1>"),
        (Call("invert", {"image": "secret.png"}), "'secret.png' is no image of this conversation"),
        (Call("invert", {"image": ["<image 1>"]}), "is no image of this conversation"),
        (Call("broken", {"text": "me"}), "broken failed: RuntimeError"),
    ],
)
def test_errors_are_results(call: Call, said: str, gallery: Gallery) -> None:
    result = Toolbox([add, invert, broken]).run(call, gallery)
    assert said in (result.error or "")
    assert "secret about" not in (result.error or "")
    assert (result.text, result.media) == ("", ())


def test_two_of_one_name() -> None:
    with pytest.raises(ValueError, match="tools: 'add' is given twice"):
        Toolbox([add, add])


def test_a_tool_that_hangs_is_left_alone(gallery: Gallery) -> None:
    """It is told to stop; until it has, other calls of it are refused, and other tools go on."""
    go, told = threading.Event(), threading.Event()

    def wait(watch: Watch) -> str:
        """Wait."""
        go.wait(10)
        if watch.cancelled:
            told.set()
        return "late"

    box = Toolbox([wait, add])
    began = time.monotonic()
    assert box.run(Call("wait", {}), gallery, seconds=0.1).error == "wait did not answer within 0.1 s"
    assert "wait is still busy" in (box.run(Call("wait", {}), gallery, seconds=0.1).error or "")
    assert box.run(Call("add", {"a": 1}), gallery).text == "2"
    assert time.monotonic() - began < 5
    go.set()
    assert told.wait(5)
    go_on = box.run(Call("wait", {}), gallery, seconds=5)
    assert go_on.text == "late", "the next call comes through, and is not told to stop"


def test_a_call_is_cancelled_from_another_thread(gallery: Gallery) -> None:
    watch, stop = Watch(), threading.Event()

    def wait(watch: Watch) -> str:
        """Wait."""
        while not watch.cancelled:
            time.sleep(0.01)
        stop.set()
        return "stopped"

    threading.Timer(0.1, watch.cancel).start()
    with pytest.raises(Cancelled):
        Toolbox([wait]).run(Call("wait", {}), gallery, watch=watch)
    assert stop.wait(5)
