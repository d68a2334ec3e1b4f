"""What clients send, as conversations: kinds, keys of a model's own, limits."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import tiny
import torch

from anyx.media import Audio, Image, Kind
from anyx.model import InputPort
from anyx.serving.content import Reader
from anyx.serving.intake import Intake
from anyx.serving.problems import Problem
from anyx.serving.settings import Settings
from anyx.serving.store import Store
from anyx.serving.wire import Message

PICTURE = Image(torch.arange(48, dtype=torch.uint8).view(3, 4, 4))
SOUND = Audio(torch.linspace(-0.5, 0.5, 64)[None], 16000)


def reader(**kinds: Kind) -> Reader:
    """Of a model with these inputs and outputs."""
    ports = {key: InputPort("eye", tiny.TinyInputProjector(6, 8), kind=kind) for key, kind in kinds.items()}
    settings = Settings(name="tiny", messages=3, parts=4, characters=100)
    return Reader(ports, ports, intake=Intake(), store=Store(), settings=settings)


def url(medium: Image | Audio) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(medium.to_bytes()).decode('ascii')}"


def message(*content: Any, role: Any = "user") -> Message:
    return Message.model_validate({"role": role, "content": list(content)})


def parts(found: Reader, *content: Any) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = found.conversation([message(*content)])[0]["content"]
    return listed


def test_a_part_goes_to_the_first_input_of_its_kind_or_to_its_own() -> None:
    found = reader(depth=Image, eye=Image, ear=Audio)
    near, named, heard = parts(
        found,
        {"type": "image_url", "image_url": {"url": url(PICTURE), "detail": "low"}},
        {"type": "eye", "eye": {"url": url(PICTURE)}},
        {"type": "input_audio", "input_audio": {"data": url(SOUND).partition(",")[2], "format": "wav"}},
    )
    assert [near["type"], named["type"], heard["type"]] == ["depth", "eye", "ear"]
    assert (named["media"].pixels == PICTURE.pixels).all()
    assert heard["media"].rate == 16000
    with pytest.raises(Problem, match="'video_url' is not one of text, image_url, input_image, input_audio"):
        parts(found, {"type": "video_url", "video_url": {"url": url(PICTURE)}})


def test_roles_and_what_the_assistant_has_shown() -> None:
    found = reader(eye=Image, ear=Audio)
    turns = [
        Message(role="developer", content="Be kind."),
        Message.model_validate({"role": "assistant", "content": "Hear:", "audio": {"id": "a"}}),
        Message.model_validate({"role": "assistant", "content": "x", "parts": [{"type": "image_url", "id": "b"}]}),
    ]
    assert found.conversation(turns) == [
        {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hear:"}, {"type": "ear"}]},
        {"role": "assistant", "content": [{"type": "eye"}]},
    ]


def test_what_is_too_much_is_refused() -> None:
    found, word = reader(eye=Image), {"type": "text", "text": "a"}
    with pytest.raises(Problem, match="4 messages given; at most 3"):
        found.conversation([message(word)] * 4)
    with pytest.raises(Problem, match="6 parts given; at most 4"):
        parts(found, *[word] * 6)
    with pytest.raises(Problem, match="101 characters given; at most 100"):
        parts(found, {"type": "text", "text": "a" * 101})


def test_a_medium_that_was_made_here_is_found_by_its_address_alone() -> None:
    found = reader(eye=Image)
    kept = found.store.keep(PICTURE)
    for address in (f"/media/{kept.name}", f"http://anything.example:1/media/{kept.name}"):
        (part,) = parts(found, {"type": "image_url", "image_url": address})
        assert (part["media"].pixels == PICTURE.pixels).all()
    with pytest.raises(Problem, match="not kept here any more"):
        parts(found, {"type": "image_url", "image_url": "/media/" + "x" * 32})
