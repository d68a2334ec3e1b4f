"""Spoilt files dropped on the web demo: each becomes values, or is refused in one line."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import drawn, files, mutated
from live import anyworld
from test_fuzz import BOUNDS

from anyx.media import MEDIA
from anyx.serving.intake import Intake, Refused
from anyx.serving.words import hold

NAMES = ("a", "..", "<script>alert(1)<b>", "\u202egnp", "-rf", "a b%00", "x" * 200, "$(id)", "'\"")
SUFFIXES = (".png", ".gif", ".jpg", ".wav", ".mp3", ".mp4", ".webm", ".svg", ".html", ".m3u8", "", ".npz")


@pytest.fixture(scope="module")
def intake() -> Iterator[Intake]:
    with Intake(BOUNDS) as made:
        yield made


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_whatever_is_dropped_on_the_demo_is_answered(intake: Intake, tmp_path: Path, count: int) -> None:
    from anyx.serving.web_uploads import Uploads, kinds_of

    model, corpus = anyworld(), files()
    folder = tmp_path / "uploads"
    folder.mkdir()
    uploads: Any = Uploads(kinds_of(model), intake, folder)
    became: Counter[str] = Counter()

    def one(chance: random.Random) -> None:
        path = folder / (chance.choice(NAMES).replace("/", "") + chance.choice(SUFFIXES))
        if path.name in (".", ".."):
            return
        path.write_bytes(mutated(chance, corpus, chance.choice(list(corpus))))
        slots = {chance.choice(list(model.inputs)): str(path)} if chance.random() < 0.5 else {}
        try:
            parts = uploads.parts([] if slots else [str(path)], slots)
            hold([{"role": "user", "content": parts}], tuple(MEDIA.values()))
            became["read"] += 1
        except Refused as refused:
            if refused.status not in (400, 413, 415) or "\n" in str(refused):
                raise
            became[str(refused.status)] += 1
        path.unlink()

    drawn(count, one)
    print(dict(became))
    assert {"read", "400", "415"} <= became.keys()
    for outside in ("/etc/passwd", str(folder / ".." / "other.png"), str(tmp_path), "http://127.0.0.1/a.png"):
        (tmp_path / "other.png").write_bytes(corpus["image"][0])
        with pytest.raises(Refused):
            uploads.parts([], {"image": outside})
