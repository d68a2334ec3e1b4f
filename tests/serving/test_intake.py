"""What strangers send: read as what it is, in a process of its own, within memory and time."""

from __future__ import annotations

import io
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corpus import NOT_MEDIA, film, gif, lying_npz, npy, npz, picture, png, tone, wav

from anyx.faults import Limits
from anyx.media import Audio, Image, Kind, Series, Video
from anyx.serving.crew import _alive
from anyx.serving.intake import Bounds, Intake, Refused

BOUNDS = Bounds(Limits(bytes=2**24, pixels=2**22, seconds=20, memory=2**27, frames=16), timeout=10.0, workers=1)


@pytest.fixture(scope="module")
def intake() -> Iterator[Intake]:
    with Intake(BOUNDS) as made:
        yield made


@dataclass(frozen=True)
class Rude:
    """A kind whose files say what befalls the one who reads them."""

    value: str
    parts: torch.Tensor

    @classmethod
    def read(cls, data: bytes) -> Rude:
        word, _, rest = data.decode().partition(" ")
        found = ""
        if word == "die":
            os.abort()
        if word == "sleep":
            time.sleep(60)
        while word == "burn":
            pass
        if word == "eat":
            torch.ones(2**32)
        if word in ("open", "write"):
            try:
                found = Path(rest).read_text() if word == "open" else str(Path(rest).write_text("x"))
            except OSError as error:
                found = type(error).__name__
        if word == "environment":
            found = " ".join(os.environ)
        return cls(found or str(os.getpid()), torch.arange(3))


def test_every_kind_comes_back_as_it_is_read_here(intake: Intake) -> None:
    torch.testing.assert_close(
        intake.read(Image, picture().to_bytes()).pixels, Image.read(picture().to_bytes()).pixels
    ) if 0 else None  # type: ignore[union-attr]
    for kind, medium, forms in (
        (Image, picture(), ("png", "jpg", "webp", "tiff")),
        (Audio, tone(), ("wav", "flac", "ogg")),
        (Video, film(), ("mp4", "webm", "gif", "apng")),
        (Series, Series(torch.rand(2, 9), 4.0), ("npz", "npy", "csv")),
    ):
        for form in forms:
            data = medium.to_bytes(form)  # type: ignore[attr-defined]
            same(intake.read(kind, data), kind.read(data))  # type: ignore[attr-defined]
    deep = Image.read(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100)
    same(intake.read(Image, deep.to_bytes()), deep)


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    for name, value in vars(expected).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(vars(found)[name], value), name
        elif isinstance(value, Audio):
            same(vars(found)[name], value)
        else:
            assert vars(found)[name] == value, name


@pytest.mark.parametrize("kind", [Image, Audio, Video, Series])
@pytest.mark.parametrize("name", NOT_MEDIA)
def test_what_is_no_medium_is_of_no_known_kind(intake: Intake, kind: Kind, name: str) -> None:
    with pytest.raises(Refused, match="is read from") as error:
        intake.read(kind, NOT_MEDIA[name])
    assert error.value.status == 415


@pytest.mark.parametrize("given", [lambda: tone().to_bytes(), lambda: film().to_bytes(), lambda: npz((2, 2))])
def test_other_media_are_refused_for_a_picture(intake: Intake, given: Callable[[], bytes]) -> None:
    with pytest.raises(Refused, match="Image is read from png, jpeg") as error:
        intake.read(Image, given())
    assert error.value.status == 415


BOMBS: dict[str, tuple[Kind, Callable[[], bytes], str, int]] = {
    "too many bytes": (Image, lambda: bytes(2**24 + 1), "16,777,217 bytes are more", 413),
    "no bytes": (Image, lambda: b"", "0 bytes", 400),
    "100k pixels wide": (Image, lambda: png(100_000, 100), "10,000,000 pixels are more", 413),
    "truncated png": (Image, lambda: picture().to_bytes()[:300], "truncated|broken|corrupt", 400),
    "gif of an hour": (Video, lambda: gif(40, 60_000), "seconds are more", 413),
    "gif without end": (Video, lambda: gif(400, 0), "seconds are more", 413),
    "gif of a moment and an age": (Video, lambda: gif(3, [10, 655_350, 10], 400), "seconds are more", 413),
    "sound of a minute": (Audio, lambda: tone(60).to_bytes("flac"), "60 seconds are more", 413),
    "sound of NaN": (Audio, lambda: wav(np.full(800, np.nan, np.float32), 8000), "NaN or infinity", 400),
    "sound at 1 Hz": (Audio, lambda: wav(np.zeros(9, np.int16), 1), "but this is at 1$", 400),
    "sound at 2 GHz": (Audio, lambda: wav(np.zeros(9, np.int16), 2**31 - 1), "but this is at 2,147", 400),
    "npz that unpacks": (Series, lambda: npz((1, 2**25 + 1)), "bytes of memory are more", 413),
    "npz that lies": (Series, lying_npz, "memory are more", 413),
    "npy that lies": (
        Series,
        lambda: npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9, 4294967296)}"),
        "memory are more",
        413,
    ),
    "npy of objects": (Series, lambda: npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 1)}"), "numbers", 400),
    "npy of arrays": (
        Series,
        lambda: npy("{'descr': [('a', '<f4', (100000000,))], 'fortran_order': False, 'shape': (1, 1)}"),
        "numbers",
        400,
    ),
    "csv of nothing": (Series, lambda: b"a,b\n1,2\nx,y\n", "convert|invalid", 400),
}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(intake: Intake, workers: int, name: str) -> None:
    kind, make, said, status = BOMBS[name]
    reader = intake if workers else Intake(replace(BOUNDS, workers=0))
    with pytest.raises(Refused, match=said) as error:
        reader.read(kind, make())
    assert error.value.status == status
    assert "0x" not in str(error.value)


def test_of_a_polyglot_only_pixels_go_on(intake: Intake) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("evil.html", "<script>alert(1)</script>")
    data = gif(1, 100) + b"<script>alert(1)</script>" + zipped.getvalue()
    medium = intake.read(Image, data)
    assert isinstance(medium, Image)
    assert b"script" not in medium.to_bytes()
    with pytest.raises(Refused):
        intake.read(Series, data)


def test_a_worker_that_dies_costs_one_refusal(intake: Intake) -> None:
    """And opens nothing, writes nothing, sees no secret, takes no more memory than it may."""
    os.environ["ANYX_SECRET"] = "hunter2"
    try:
        first = intake.read(Rude, b"hello")  # type: ignore[arg-type]
        assert isinstance(first, Rude)
        assert int(first.value) != os.getpid()
        assert first.parts.tolist() == [0, 1, 2]
        assert intake.read(Rude, b"hello").value == first.value, "it is kept warm"  # type: ignore[arg-type,union-attr]
        with pytest.raises(Refused, match="broke down"):
            intake.read(Rude, b"die")  # type: ignore[arg-type]
        keeper = intake._crew and intake._crew._keeper
        second = intake.read(Rude, b"hello")  # type: ignore[arg-type]
        assert isinstance(second, Rude)
        assert second.value != first.value
        assert intake._crew is not None
        assert intake._crew._keeper is keeper is not None, "the next is forked, and nothing is imported again"
        with pytest.raises(Refused, match="memory") as error:
            intake.read(Rude, b"eat")  # type: ignore[arg-type]
        assert error.value.status == 413
        for order in ("open /etc/hostname", "write /tmp/anyx-should-not-be"):
            found = intake.read(Rude, order.encode())  # type: ignore[arg-type]
            assert isinstance(found, Rude)
            assert found.value == "OSError"
        assert not Path("/tmp/anyx-should-not-be").exists()
        seen = intake.read(Rude, b"environment")  # type: ignore[arg-type]
        assert isinstance(seen, Rude)
        assert "ANYX_SECRET" not in seen.value
    finally:
        del os.environ["ANYX_SECRET"]


def test_time_is_bounded_and_what_is_killed_is_replaced() -> None:
    """On the clock and of the processor."""
    with Intake(replace(BOUNDS, timeout=1.0)) as hasty:
        hasty.start()
        for order in (b"sleep", b"burn"):
            begin = time.monotonic()
            with pytest.raises(Refused, match="more than 1 seconds") as error:
                hasty.read(Rude, order)  # type: ignore[arg-type]
            assert error.value.status == 413
            assert time.monotonic() - begin < 5
        assert isinstance(hasty.read(Image, picture().to_bytes()), Image)
        assert hasty._crew is not None
        keeper = hasty._crew._keeper
        assert keeper is not None
        os.killpg(keeper[0].pid, 9)
        keeper[0].wait()
        worker = hasty._crew._idle.queue[-1]
        while worker is not None and _alive(worker):  # its children end beside it
            time.sleep(0.01)
        assert isinstance(hasty.read(Image, picture().to_bytes()), Image), "what is killed is replaced"


def test_threads_share_workers(intake: Intake) -> None:
    found: list[int] = []

    def reads(seed: int) -> None:
        image = Image(torch.full((3, 9, 9), seed, dtype=torch.uint8))
        for _ in range(5):
            same(intake.read(Image, image.to_bytes()), image)
        found.append(seed)

    threads = [threading.Thread(target=reads, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(6))
