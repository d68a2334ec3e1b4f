"""Bad media are told apart by their fault, and what is too large is refused by its header, before it is decoded."""

import io
import json
import math
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from anyx import codecs
from anyx.faults import EmptyError, Limits, OversizedError, TruncatedError, fault_of, limits, within
from anyx.files import Member
from anyx.media import Audio, Image, MediaError, Series, Video

NOISE = torch.Generator().manual_seed(0)


def picture() -> Image:
    return Image(torch.randint(0, 256, (3, 40, 60), generator=NOISE, dtype=torch.uint8))


def tone(seconds: float) -> Audio:
    return Audio((torch.arange(int(8000 * seconds)) * 2 * math.pi * 440 / 8000).sin()[None], 8000)


def film(frames: int = 12) -> Video:
    shades = torch.arange(frames, dtype=torch.uint8) * 20
    return Video(shades[:, None, None, None].expand(frames, 3, 32, 32).contiguous(), 4.0)


def cut(data: bytes, share: float) -> bytes:
    return data[: int(share * len(data))]


def silence() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("read", "data", "fault"),
    [
        (Image.read, lambda: b"", "zero-length"),
        (Audio.read, lambda: b"", "zero-length"),
        (Audio.read, silence, "zero-length"),
        (Video.read, lambda: b"", "zero-length"),
        (Image.read, lambda: b"no picture", "corrupt"),
        (Audio.read, lambda: b"no sound", "corrupt"),
        (Video.read, lambda: b"no film", "corrupt"),
        (Image.read, lambda: cut(picture().to_bytes("jpg"), 0.5), "truncated"),
        (Image.read, lambda: cut(picture().to_bytes("png"), 0.5), "truncated"),
        (Audio.read, lambda: cut(tone(1).to_bytes("wav"), 0.5), "truncated"),
        (Video.read, lambda: cut(film().to_bytes("mp4"), 0.5), "corrupt"),  # its table of contents stands at the end
        (Image.read, lambda: "nowhere.png", "missing"),
        (Audio.read, lambda: ".", "missing"),
        (Image.read, lambda: 5, "corrupt"),
        (lambda given: Audio.read(given, rate=8000), lambda: np.zeros(0, np.float32), "zero-length"),
        (Series.read, lambda: np.zeros((2, 0), np.float32), "zero-length"),
        (Series.read, lambda: b"", "zero-length"),
    ],
)
def test_every_kind_of_bad_media_has_its_fault(read: Any, data: Callable[[], Any], fault: str) -> None:
    with pytest.raises(MediaError) as error:
        read(data())
    assert fault_of(error.value) == fault, str(error.value)


def test_faults_of_records() -> None:
    def raised(function: Callable[[], object]) -> str:
        try:
            function()
        except Exception as error:
            return fault_of(error)
        raise AssertionError

    def wrapped() -> None:
        try:
            json.loads("{")
        except ValueError as error:
            raise ValueError("chat.jsonl: record 3") from error

    assert raised(wrapped) == "corrupt"
    assert raised(Path("nowhere").read_bytes) == "missing"
    assert raised(lambda: {}["messages"]) == "unfit"
    assert raised(lambda: bytes([255]).decode()) == "corrupt"


@pytest.mark.parametrize(
    ("held", "read", "data", "told"),
    [
        (Limits(bytes=100), Image.read, lambda: picture().to_bytes(), "bytes are more than the 100 that limits.bytes"),
        (Limits(pixels=2399), Image.read, lambda: picture().to_bytes(), "2,400 pixels are more than the 2,399"),
        (Limits(pixels=1000), Video.read, lambda: film().to_bytes(), "1,024 pixels are more than"),
        (Limits(pixels=1000), Video.read, lambda: film().to_bytes("gif"), "1,024 pixels are more than"),
        (Limits(memory=9999), Video.read, lambda: film().to_bytes("gif"), "12,288 bytes of memory are more than"),
        (Limits(memory=9999), Video.read, lambda: film().to_bytes(), "36,864 bytes of memory are more than"),
        (Limits(seconds=2.5), Video.read, lambda: film().to_bytes(), "3 seconds are more than the 2"),
        (Limits(seconds=1), Audio.read, lambda: tone(1.5).to_bytes("ogg"), "2 seconds are more than the 1"),
        (Limits(memory=30_000), Audio.read, lambda: tone(1).to_bytes("flac"), "32,000 bytes of memory are more than"),
    ],
)
def test_what_is_too_large_is_refused(held: Limits, read: Any, data: Any, told: str) -> None:
    given = data()
    read(given)
    with within(held), pytest.raises(OversizedError, match=told) as error:
        read(given)
    assert fault_of(error.value) == "oversized"
    read(given)  # the limits end with their block
    assert limits() == Limits()


def test_a_picture_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bomb: a megabyte of one colour, which would take a hundred times as much."""
    path = tmp_path / "bomb.png"
    PILImage.fromarray(np.zeros((12_000, 12_000), np.uint8)).save(path)
    decoded: list[int] = []
    monkeypatch.setattr(codecs, "rgb", lambda picture: decoded.append(1))
    with pytest.warns(PILImage.DecompressionBombWarning), pytest.raises(OversizedError, match="144,000,000 pixels"):
        Image.read(path)
    monkeypatch.setattr(PILImage, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError) as error:
        Image.read(path)
    assert fault_of(error.value) == "oversized", "PIL's own limit is one too"
    assert not decoded


def test_of_a_long_film_some_frames_are_kept() -> None:
    """Those that `sample` takes, at the speed that keeps its length; a shorter one stays as it is."""
    data = film(12).to_bytes()
    whole = Video.read(data)
    with within(Limits(frames=4)):
        some = Video.read(data)
    expected = whole.sample(4)
    assert torch.equal(some.frames, expected.frames)
    assert some.fps == pytest.approx(expected.fps)
    assert some.seconds == pytest.approx(whole.seconds)
    with within(Limits(frames=12)):
        assert torch.equal(Video.read(data).frames, whole.frames)
    with within(Limits(frames=4, memory=4 * 32 * 32 * 3)):
        assert len(Video.read(data).frames) == 4, "what is kept counts, not what is passed over"


def test_a_member_stands_for_its_bytes(tmp_path: Path) -> None:
    data, path = picture().to_bytes(), tmp_path / "box"
    path.write_bytes(b"before" + data + b"after")
    member = Member(str(path), 6, len(data), "fox.png")
    assert torch.equal(Image.read(member).pixels, Image.read(data).pixels)
    with pytest.raises(EmptyError, match=r"box: fox.png: it holds 0 bytes"):
        Image.read(Member(str(path), 6, 0, "fox.png"))
    with pytest.raises(TruncatedError, match=r"fox.png is truncated: 11 bytes of 30"):
        Member(str(path), 6 + len(data) - 6, 30, "fox.png").read()
