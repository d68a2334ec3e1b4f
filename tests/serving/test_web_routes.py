"""Every route of emoji world, clicked through by its example in the browser; what comes out is decoded."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from web_browser import ROOT, Visitor, demo, opened

from anyx.media import Audio, Image, Video

EMOJI = ROOT / "experiments/emoji"
KEYS = ("text", "image", "audio", "video")
TAGS = {"image": "img", "audio": "audio", "video": "video"}
FAST = ("text->text", "text->image", "image->audio", "audio->video", "video->text")  # each input, each output
REQUESTS = {row["id"]: row for row in map(json.loads, (EMOJI / "demo.jsonl").read_text().splitlines())}


@pytest.fixture(scope="module")
def visitor() -> Iterator[Visitor]:
    with opened() as browser, demo(EMOJI / "model") as address, Visitor(browser, address) as one:
        yield one


def decoded(key: str, data: bytes) -> None:
    if key == "image":
        image = Image.read(data)
        assert image.size == (64, 64)
        assert image.pixels.float().std() > 5
    elif key == "audio":
        sound = Audio.read(data)
        assert 0.5 < sound.seconds < 10
        assert sound.samples.abs().max() > 0.01
    else:
        clip = Video.read(data)
        assert len(clip.frames) >= 4
        assert clip.frames.float().std() > 5


@pytest.mark.parametrize(
    "route", [pytest.param(name, marks=[] if name in FAST else [pytest.mark.slow]) for name in REQUESTS]
)
def test_a_route_by_its_example(visitor: Visitor, route: str) -> None:
    source, target = route.split("->")
    words = next(part["text"] for part in REQUESTS[route]["messages"][0]["content"] if part["type"] == "text")
    visitor.clear()
    visitor.page.click(f"#anyx-routes >> text={source} → {target}")
    visitor.page.wait_for_function("words => document.querySelector('#anyx-box textarea').value === words", arg=words)
    visitor.press()
    visitor.turns(1)
    assert words in visitor.said
    assert f"{target}" in visitor.happened.split("seed")[0].partition("→")[2]
    if source != "text":
        assert f"read {source}" in visitor.happened
    if target != "text":
        (data,) = visitor.media(TAGS[target], count=1)
        decoded(target, data)
        assert f"made {target}" in visitor.happened
        assert f"<{target}>" in visitor.happened
    visitor.shot(f"route_{source}_{target}")
    assert (visitor.strayed, visitor.errors) == ([], [])


def test_there_is_an_example_for_every_route(visitor: Visitor) -> None:
    names = visitor.page.locator("#anyx-routes button").all_inner_texts()
    assert names == [f"{source} → {target}" for source in KEYS for target in KEYS]
