"""What is computed before the first step, and that a bad record or file costs itself only."""

from pathlib import Path

import pytest
import soundfile
import tiny
import torch

from anyx.data.cache import FeatureCache
from anyx.data.dialogues import DialogueReader
from anyx.data.sources import Feed
from anyx.interfaces import Media
from anyx.media import Audio, Image, MediaError
from anyx.training.prepare import fill


def ask(*parts: object, role: str = "user") -> dict[str, object]:
    return {"messages": [{"role": role, "content": list(parts)}]}


def picky(key: str, media: Media, generator: torch.Generator) -> Media:
    if isinstance(media, Image) and not media.pixels.any():
        raise ValueError("this one is black")
    return media


def test_a_bad_record_or_file_costs_itself_only(tmp_path: Path) -> None:
    good = [{"type": "image", "media": Image(torch.full((3, 4, 4), level, dtype=torch.uint8))} for level in (9, 0, 99)]
    soundfile.write(tmp_path / "empty.wav", torch.zeros(0, 1).numpy(), 8000)
    with pytest.raises(MediaError, match="an Audio has samples"):
        Audio.read(tmp_path / "empty.wav")
    records = [
        ask({"type": "image", "path": str(tmp_path / "missing.png")}),
        ask({"type": "audio", "path": str(tmp_path / "empty.wav")}),
        {"messages": [{"content": [good[0]]}]},  # no role
        ask({"type": "text"}),
        ask({"type": "image", "media": 5}),
        ask({"type": "image", "caption": "half a \ud83d"}, role="assistant"),
        *(ask(part) for part in good),
    ]
    model, cache = tiny.anyx(), FeatureCache(tmp_path / "features")
    reader = DialogueReader(
        model.processor, cache, encoders={"image": "eye", "audio": "eye"}, teachers={"image": "text"}
    )
    fill(model, reader, [Feed("chat", records, picky)], cache)
    assert len(cache) == 2  # of three pictures, one of which the augmentation refuses
