"""A microphone and a camera in the browser: Chromium plays a word and shows a picture, emoji world names both."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image as PILImage
from playwright.sync_api import expect
from torch.nn import functional
from web_browser import ROOT, TRIES, Visitor, demo, opened

from anyx.media import Audio, Image, Video

EMOJI = ROOT / "experiments/emoji"
WORD, THING = "lion", "elephant"
SPOKEN = Audio.read(EMOJI / "data/speech/slt/lion_face.ogg")
SHOWN = Image.read(EMOJI / "data/image/noto/elephant.webp")
BEFORE, AFTER = 2.0, 6.0  # seconds of silence around the word; the file is played again and again
LEAST = 4  # seconds that are recorded: the word, although the microphone opened some time before


def microphone(place: Path) -> Path:
    """A WAV file with the word in silence."""
    rate = SPOKEN.rate
    samples = functional.pad(SPOKEN.samples, (int(BEFORE * rate), int(AFTER * rate)))
    return Audio(samples, rate).resample(48000).save(place)


def camera(place: Path) -> Path:
    """A film of JPEG pictures that Chromium shows as a camera of 640 x 480."""
    picture = PILImage.new("RGB", (640, 480), "white")
    picture.paste(SHOWN.to_pil().resize((420, 420), PILImage.Resampling.LANCZOS), (110, 30))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    place.write_bytes(file.getvalue() * 20)
    return place


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with demo(EMOJI / "model") as one:
        yield one


@pytest.fixture(scope="module")
def visitor(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    folder = tmp_path_factory.mktemp("devices")
    sound = f"--use-file-for-fake-audio-capture={microphone(folder / 'word.wav')}"
    film = f"--use-file-for-fake-video-capture={camera(folder / 'thing.mjpeg')}"
    with opened(sound, film) as browser, Visitor(browser, address, width=390) as one:
        yield one


@pytest.fixture(autouse=True)
def _anew(visitor: Visitor) -> Iterator[None]:
    visitor.clear()
    yield
    assert (visitor.strayed, visitor.errors) == ([], [])


def attached(visitor: Visitor) -> None:
    expect(visitor.page.locator("#anyx-box .thumbnail-item")).to_have_count(1, timeout=TRIES)


def revealed(visitor: Visitor, name: str) -> None:
    """Open the camera's panel, and have one of the two look."""
    if not visitor.page.is_visible(f"#{name}"):
        visitor.page.click("text=Camera")
    visitor.page.click(f"#{name} button:has-text('Click')")
    visitor.page.wait_for_function(f"document.querySelector('#{name} video').videoWidth > 0")


def alike(heard: Audio) -> float:
    """How well the word fits the place of a recording where it fits best: 1 where it is the same."""
    sound, word = (one.mono().resample(8000).samples for one in (heard, SPOKEN))
    word = word / word.norm()
    at = functional.conv1d(sound[None], word[None])[0, 0].abs()
    level = functional.conv1d(sound.square()[None], torch.ones_like(word)[None])[0, 0].sqrt()
    return float((at / level.clamp_min(0.1 * float(level.max()))).max())


def recorded(visitor: Visitor) -> Audio:
    """Record some seconds, ask what can be heard, and hand out what the server heard."""
    page = visitor.page
    page.click("#anyx-box [aria-label='Record audio']")
    begin = time.monotonic()
    page.click("#anyx-box [aria-label='Start recording']")
    expect(page.locator("#anyx-box .timestamp")).to_have_text(re.compile(f"0:(0[{LEAST}-9]|[1-5])"), timeout=TRIES)
    visitor.shot("microphone")
    page.click("#anyx-box [aria-label='Stop recording']")
    lasted = time.monotonic() - begin
    page.click("#anyx-box [aria-label='Attach audio']")
    attached(visitor)
    visitor.say("What can you hear?")
    (data,) = visitor.media("audio", "user", count=1)
    heard = Audio.read(data)
    assert heard.rate in (44100, 48000)
    assert LEAST - 1 < heard.seconds < lasted + 1
    return heard


def test_a_word_is_recorded_and_heard(visitor: Visitor) -> None:
    for _ in range(4):  # the word may be over before a slow browser records
        if alike(recorded(visitor)) > 0.8:
            break
        visitor.clear()
    else:
        pytest.fail("no recording held the word")
    assert "audio + text → text" in visitor.happened
    assert WORD in visitor.said


def test_a_picture_is_taken_and_named(visitor: Visitor) -> None:
    revealed(visitor, "anyx-picture")
    visitor.page.click("#anyx-picture [aria-label='capture photo']")
    attached(visitor)
    assert visitor.page.evaluate("document.documentElement.scrollWidth") == 390
    visitor.shot("camera")
    visitor.say("What can you see here?")
    (data,) = visitor.media("img", "user", count=1)
    assert Image.read(data).size == (480, 640)
    assert "image + text → text" in visitor.happened
    assert THING in visitor.said


def test_a_clip_is_recorded_and_named(visitor: Visitor) -> None:
    revealed(visitor, "anyx-clip")
    button = visitor.page.locator("#anyx-clip .capture-button")
    begin = time.monotonic()
    button.click()
    expect(button).to_contain_text("Stop", timeout=TRIES)
    visitor.page.wait_for_timeout(2000)  # so long it shall be
    button.click()
    lasted = time.monotonic() - begin
    attached(visitor)
    visitor.say("What does the clip show?")
    (data,) = visitor.media("video", "user", count=1)
    clip = Video.read(data)
    assert clip.frames.shape[2:] == (480, 640)
    assert len(clip.frames) > 2
    assert 0.5 < clip.seconds < lasted + 1
    assert "video + text → text" in visitor.happened
    assert THING in visitor.said
