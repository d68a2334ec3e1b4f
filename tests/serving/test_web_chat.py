"""The chat in the browser, with AnyWorld: stop, regenerate, edit, clear, download, settings, files, hostile words."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from playwright.sync_api import Browser, expect
from web_browser import ROOT, TRIES, Visitor, demo, file, opened

from anyx.media import Audio, Image, Video
from anyx.serving.web_examples import sample

DRAW = "draw three red circles on the left."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with opened() as one:
        yield one


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with demo(ROOT / "experiments/anyworld/model", "--max-upload", "0.5") as one:
        yield one


@pytest.fixture
def visitor(browser: Browser, address: str) -> Iterator[Visitor]:
    with Visitor(browser, address) as one:
        yield one
        assert (one.strayed, one.errors) == ([], [])


def test_a_visitor_is_told_what_the_model_knows(visitor: Visitor) -> None:
    expect(visitor.page.locator("#anyx-talk")).to_contain_text("pick a route.")
    expect(visitor.page.locator("#anyx-talk")).to_contain_text("It knows 72 scenes: one to three squares, circles")


def test_a_talk_goes_on_and_its_last_turn_is_said_anew(visitor: Visitor) -> None:
    visitor.say(DRAW)
    visitor.say("let me hear two green squares on the right.", turns=2)
    assert "text → text + audio" in visitor.happened
    (first,) = visitor.media("audio", count=1)
    visitor.page.click("#anyx-again")
    expect(visitor.page.locator("#anyx-happened")).to_contain_text("seed 1", timeout=TRIES)
    (second,) = visitor.media("audio", count=1)
    assert first != second
    assert Audio.read(first).samples.shape == Audio.read(second).samples.shape
    assert len(visitor.media("img", count=1)) == 1
    visitor.shot("chat")


@pytest.mark.parametrize(("words", "order"), [("draw {} and play that.", "IA"), ("play {} and draw that.", "AI")])
def test_media_of_one_reply_stand_in_the_order_said(visitor: Visitor, words: str, order: str) -> None:
    visitor.say(words.format("three red circles on the left"))
    visitor.media("img", count=1)
    visitor.media("audio", count=1)
    high = [
        visitor.page.locator(f"#anyx-talk .message.bot {tag}").bounding_box() for tag in ("img", ".waveform-wrapper")
    ]
    assert high[0] is not None
    assert high[1] is not None
    assert (high[0]["y"] < high[1]["y"]) == (order == "IA")


def test_an_example_holds_its_medium(visitor: Visitor) -> None:
    visitor.page.click("#anyx-routes >> text=audio → image")
    expect(visitor.page.locator("#anyx-box .thumbnail-item")).to_have_count(1, timeout=TRIES)
    visitor.press()
    visitor.turns(1)
    assert "one red circle on the left." in visitor.said
    assert len(visitor.media("img", count=1)) == 1


def test_an_earlier_turn_is_edited(visitor: Visitor) -> None:
    visitor.say(DRAW)
    (before,) = visitor.media("img", count=1)
    visitor.say("animate two green squares on the right.", turns=2)
    visitor.page.locator('#anyx-talk [aria-label="Edit"]').first.click()
    visitor.page.fill("#anyx-talk textarea", "draw one blue square at the top.")
    visitor.page.click('#anyx-talk [aria-label="Submit"]')
    visitor.turns(1)
    assert "one blue square at the top" in visitor.said
    assert "circles" not in visitor.said
    assert "animate" not in visitor.said
    (after,) = visitor.media("img", count=1)
    assert before != after


def test_a_reply_is_stopped_and_the_talk_goes_on(visitor: Visitor) -> None:
    visitor.set("video-steps", 200)
    visitor.type("animate two green squares on the right.")
    visitor.press()
    making = visitor.page.locator("#anyx-talk", has_text="making video ▰")
    making.wait_for()
    visitor.shot("progress")
    visitor.page.click("#anyx-stop")
    visitor.turns(1)
    assert "■ stopped" in visitor.said
    assert "making" not in visitor.said
    assert visitor.media("video") == []
    assert "stopped" in visitor.happened
    visitor.say(DRAW, turns=2)
    assert len(visitor.media("img", count=1)) == 1


def test_settings_take_effect(visitor: Visitor) -> None:
    visitor.set("image-steps", 3)
    visitor.set("image-size", "64x32")
    visitor.set("seed", 7)
    visitor.say(DRAW)
    assert Image.read(visitor.media("img", count=1)[0]).size == (32, 64)
    assert "3 steps" in visitor.happened
    assert "seed 7" in visitor.happened
    visitor.set("tokens", 1)
    visitor.say("hello", turns=2)
    assert "1 tokens" in visitor.happened
    visitor.set("image-steps", 100000)
    visitor.say(DRAW, turns=3)
    assert "⚠ image steps: 100000 given; it is a whole number from 1 to 200" in visitor.said.replace(
        "100,000", "100000"
    )
    visitor.shot("settings")


def test_files_are_read_and_shown_as_they_were_read(visitor: Visitor) -> None:
    given = {kind: sample(kind) for kind in (Image, Audio, Video)}
    visitor.attach(
        file("a.png", given[Image].to_bytes("png"), "image/png"),
        file("b.wav", given[Audio].to_bytes("wav"), "audio/wav"),
        file("c.mp4", given[Video].to_bytes("mp4"), "video/mp4"),
    )
    visitor.say("what is this?")
    assert "image + audio + video + text" in visitor.happened
    assert Image.read(visitor.media("img", "user", count=1)[0]).pixels.equal(given[Image].pixels)  # type: ignore[union-attr]
    assert Audio.read(visitor.media("audio", "user", count=1)[0]).seconds == pytest.approx(1)
    assert Video.read(visitor.media("video", "user", count=1)[0]).frames.shape == given[Video].frames.shape  # type: ignore[union-attr]


def test_small_pictures_show_their_pixels_and_large_ones_are_large(visitor: Visitor) -> None:
    for turn, (side, width, how) in enumerate(((64, 192, "pixelated"), (600, 512, "auto")), 1):
        visitor.attach(file("a.png", Image(torch.zeros(3, side, side, dtype=torch.uint8)).to_bytes("png"), "image/png"))
        visitor.say("what is this?", turns=turn)
        picture = visitor.page.locator("#anyx-talk .message.user img").nth(turn - 1)
        expect(picture).to_have_js_property("naturalWidth", side, timeout=TRIES)
        expect(picture).to_have_css("image-rendering", how)
        talk, box = visitor.page.locator("#anyx-talk").bounding_box(), picture.bounding_box()
        assert talk is not None
        assert box is not None
        assert 192 <= box["width"] <= min(width, talk["width"])
        assert box["width"] == box["height"]
        assert (box["width"] > 300) == (side == 600)
    visitor.shot("pictures")


def test_what_is_no_file_of_its_kind_is_refused_in_one_line(visitor: Visitor) -> None:
    visitor.attach(file("broken.png", b"no picture at all", "image/png"))
    visitor.say("what is this?")
    assert "⚠ broken.png is not read as image" in visitor.said
    assert "Traceback" not in visitor.page.content()
    visitor.press()
    visitor.page.wait_for_selector("#anyx-talk >> text=nothing was asked")


def test_hostile_words_and_names_are_words(visitor: Visitor) -> None:
    hostile = "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 1'> ${window.pwned=1} {{7*7}}"
    visitor.attach(file("<img src=x onerror=window.pwned=1>.png", b"nothing", "image/png"))
    visitor.say(hostile)
    visitor.type(f"{hostile} ![x](http://example.com/x.png) <svg onload=window.pwned=1>")
    visitor.press()
    expect(visitor.page.locator("#anyx-talk")).to_contain_text("![x](http://example.com/x.png)", timeout=TRIES)
    expect(visitor.page.locator("#anyx-happened")).to_contain_text("seed 0", timeout=TRIES)
    assert "<script>window.pwned = 1</script>" in visitor.said
    assert "![x](http://example.com/x.png)" in visitor.said
    assert visitor.page.evaluate("window.pwned") is None
    assert visitor.page.locator("#anyx-talk img[src='x'], #anyx-talk script, #anyx-talk svg[onload]").count() == 0


def test_a_talk_is_taken_away_and_cleared(visitor: Visitor) -> None:
    visitor.attach(file("a.png", sample(Image).to_bytes("png"), "image/png"))
    visitor.say("show it as a clip.")
    with visitor.taken() as held:
        told = json.loads(held.read("conversation.json"))
        talk = told["messages"]
        assert [message["role"] for message in talk] == ["user", "assistant"]
        assert talk[0]["content"][1] == {"type": "text", "text": "show it as a clip."}
        paths = [part["path"] for message in talk for part in message["content"] if "path" in part]
        assert sorted([*paths, "conversation.json"]) == sorted(held.namelist())
        assert Image.read(held.read(paths[0])).pixels.equal(sample(Image).pixels)  # type: ignore[union-attr]
        assert len(Video.read(held.read(paths[1])).frames) > 1
        assert told["replies"][0]["settings"]["seed"] == told["seed"] == 0
    visitor.clear()
    assert visitor.page.locator("#anyx-talk .message").count() == 0
    visitor.say(DRAW)
    assert visitor.page.locator("#anyx-talk .message.user").count() == 1


def test_two_visitors_do_not_see_each_other(browser: Browser, address: str, visitor: Visitor) -> None:
    visitor.say("the secret word is xylophone")
    with Visitor(browser, address) as other:
        assert "xylophone" not in other.page.content()
        other.say(DRAW)
        assert "xylophone" not in other.page.content()
        with other.taken() as held:
            assert "xylophone" not in held.read("conversation.json").decode()
    visitor.say(DRAW, turns=2)
    assert len(visitor.media("img", count=1)) == 1
    visitor.open()  # another page of the same browser begins anew
    assert "xylophone" not in visitor.page.content()


def test_a_camera_gives_a_picture(visitor: Visitor) -> None:
    visitor.page.click("text=Camera")
    visitor.page.click("#anyx-picture button:has-text('Click')")
    visitor.page.wait_for_function("document.querySelector('#anyx-picture video').readyState >= 2")
    visitor.page.wait_for_timeout(300)  # a frame is not there as soon as the stream is
    visitor.page.click("#anyx-picture [aria-label='capture photo']")
    expect(visitor.page.locator("#anyx-box .thumbnail-item")).to_have_count(1, timeout=TRIES)
    visitor.say("what is this?")
    assert "image + text" in visitor.happened
    assert min(Image.read(visitor.media("img", "user", count=1)[0]).size) > 16


def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser, address: str) -> None:
    with Visitor(browser, address, width=390) as visitor:
        visitor.say(DRAW)
        visitor.say("let me hear two green squares on the right.", turns=2)
        visitor.reveal("image-size")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
        visitor.shot("phone")
        wide = visitor.page.evaluate(
            "[...document.querySelectorAll('button, textarea, img, audio, video')]"
            ".filter(one => one.offsetParent && one.getBoundingClientRect().right > 391).map(one => one.outerHTML)"
        )
        assert wide == []


def test_dark_and_light(browser: Browser, address: str) -> None:
    with Visitor(browser, address, dark=True) as visitor:
        shade = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
        assert max(visitor.page.evaluate(shade)) < 64
        visitor.say(DRAW)
        visitor.shot("dark")
        visitor.page.click("#anyx-light")
        assert min(visitor.page.evaluate(shade)) > 192
