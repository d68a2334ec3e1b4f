"""Small real files of every kind that is taken, files that are none, and ways to spoil both, drawn by hypothesis."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from anyx.media import Audio, Image, Series, Video

NOT_MEDIA: dict[str, bytes] = {
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "html": b"<!DOCTYPE html><script>alert(1)</script>",
    "playlist": b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "session": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash": b'<?xml version="1.0"?><MPD></MPD>',
    "subfile": b"subfile,,start,0,end,100,,:/etc/passwd",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "pdf": b"%PDF-1.7\n",
    "psd": b"8BPS\x00\x01" + bytes(40),
    "program": b"\x7fELF" + bytes(99),
    "pickle": b"\x80\x04K\x05.",
    "zeros": bytes(500),
}
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 2**31, 2**63, 1e308, "", "\x00", "\ud800", "../../etc/passwd", "<script>", "x" * 5000, [], {},
    [[]], {"type": "image", "path": "/etc/passwd"}, {"url": "file:///etc/passwd"}, [{"type": "text", "text": 5}],
)  # fmt: skip
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def picture(height: int = 20, width: int = 30) -> Image:
    return Image(torch.randint(0, 256, (3, height, width), dtype=torch.uint8))


def tone(seconds: float = 0.5, rate: int = 8000) -> Audio:
    return Audio(torch.sin(torch.arange(int(seconds * rate)) / 9)[None] * 0.5, rate)


def film(frames: int = 8) -> Video:
    return Video(torch.randint(0, 256, (frames, 3, 32, 32), dtype=torch.uint8), 8.0, tone(1, 48000))


def gif(frames: int, duration: int | list[int], size: int = 8) -> bytes:
    pictures = [PILImage.new("P", (size, size), place % 251) for place in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=duration, optimize=False)
    return buffer.getvalue()


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def npz(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=np.zeros(shape, np.float32))
    return buffer.getvalue()


def npy(header: str) -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def lying_npz() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("values.npy", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99, 99999999)}"))
    return buffer.getvalue()


def wav(samples: np.ndarray[Any, Any], rate: int) -> bytes:
    from scipy.io import wavfile

    buffer = io.BytesIO()
    wavfile.write(buffer, rate, samples)
    return buffer.getvalue()


def files() -> dict[str, list[bytes]]:
    """What a mutation begins with, by kind of medium; `none` are files of no kind."""
    moving = [film().to_bytes(form) for form in ("mp4", "webm", "gif", "apng")]
    return {
        "image": [picture().to_bytes(form) for form in ("png", "jpg", "webp", "tiff")],
        "audio": [*(tone().to_bytes(form) for form in ("wav", "flac", "ogg")), wav(np.ones(400, np.float32), 8000)],
        "video": [*moving, gif(5, 50)],
        "series": [Series(torch.rand(2, 9), 4.0).to_bytes(form) for form in ("npz", "npy", "csv")],
        "none": list(NOT_MEDIA.values()),
    }


def _flip(chance: random.Random, data: bytearray, _: bytes) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _number(chance: random.Random, data: bytearray, _: bytes) -> None:
    place, size = chance.randrange(min(len(data), 512)), chance.choice((1, 2, 4, 8))
    number = chance.choice(NUMBERS) & (2 ** (8 * size) - 1)
    data[place : place + size] = number.to_bytes(size, chance.choice(("big", "little")))


def _cut(chance: random.Random, data: bytearray, _: bytes) -> None:
    del data[chance.randrange(len(data)) :]


def _lose(chance: random.Random, data: bytearray, _: bytes) -> None:
    start = chance.randrange(len(data))
    del data[start : start + chance.randrange(1, 65)]


def _repeat(chance: random.Random, data: bytearray, _: bytes) -> None:
    start = chance.randrange(len(data))
    data[start:start] = data[start : start + 256] * chance.choice((1, 2, 50))


def _noise(chance: random.Random, data: bytearray, _: bytes) -> None:
    start = chance.randrange(len(data))
    data[start:start] = chance.randbytes(chance.choice((1, 16, 1024)))


def _splice(chance: random.Random, data: bytearray, other: bytes) -> None:
    start = chance.randrange(len(data))
    data[start:] = other[chance.randrange(len(other)) :]


WAYS: tuple[Callable[[random.Random, bytearray, bytes], None], ...] = (
    _flip, _number, _cut, _lose, _repeat, _noise, _splice
)  # fmt: skip


def mutated(chance: random.Random, corpus: Mapping[str, Sequence[bytes]], kind: str) -> bytes:
    """A file, most often of a kind, spoilt once or several times; rarely whole."""
    others = [data for several in corpus.values() for data in several]
    data = bytearray(chance.choice(corpus[kind] if chance.random() < 0.8 else others))
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 6))):
        if data:
            chance.choice(WAYS)(chance, data, chance.choice(others))
    return bytes(data)


def drawn(count: int, one: Callable[[random.Random], None]) -> None:
    """Call `one` so many times, the same each time, with chance whose every choice hypothesis draws.

    What fails is not made smaller: that would send thousands of inputs more.
    """

    @settings(
        derandomize=True, database=None, deadline=None, max_examples=count, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), print_blob=True,
    )  # fmt: skip
    @given(st.randoms(use_true_random=False))
    def every(chance: random.Random) -> None:
        one(chance)

    every()


def odd(chance: random.Random, body: Any) -> Any:
    """A body with one value, anywhere in it, replaced, removed or added."""
    if isinstance(body, dict) and body and chance.random() < 0.8:
        key = chance.choice(list(body))
        if chance.random() < 0.1:
            return {name: value for name, value in body.items() if name != key} | {"extra": chance.choice(ODD)}
        return body | {key: odd(chance, body[key])}
    if isinstance(body, list) and body and chance.random() < 0.8:
        place = chance.randrange(len(body))
        return [*body[:place], odd(chance, body[place]), *body[place + 1 :]]
    return chance.choice(ODD)
