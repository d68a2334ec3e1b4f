"""Requests of sources of captions: those for media say where the caption stands."""

import json
from pathlib import Path

import pytest

from anyx.data.formats import CaptionSource
from anyx.data.nextgpt import PairSource


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.json"
    path.write_text(json.dumps([{"image_name": "a.png", "caption": "a dog"}]))
    return path


def test_requests_for_media_hold_the_caption(pairs: Path) -> None:
    for source in (PairSource, lambda path, **given: CaptionSource(path, key="image", **given)):
        with pytest.raises(ValueError, match=r"prompts: 'Draw\.' given; with direction out, each says by \{\}"):
            source(pairs, direction="out", prompts=["Draw."])
        asked = source(pairs, direction="out", prompts=["Draw {}."])[0]["messages"][0]["content"]
        assert asked == "Draw a dog."
        assert source(pairs, direction="out")[0]["messages"][0]["content"] == "a dog"
