"""A conversation in a folder and back: bytes of files kept, what a model showed kept, nothing read from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from anyx.media import Audio, Image
from anyx.sampling import Sampling
from anyx.terminal import keeping
from anyx.terminal.keeping import Kept

KINDS = {"user": {"image": Image}, "assistant": {"image": Image, "audio": Audio}}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    picture = Image(torch.randint(0, 256, (3, 8, 9), dtype=torch.uint8)).save(tmp_path / "a picture.jpg")
    sound = Audio(torch.rand(1, 400) - 0.5, 8000)
    messages: list[dict[str, Any]] = [
        {
            "role": "user",
            "content": [keeping.attached("image", Image, picture), {"type": "text", "text": "Was ist das? é"}],
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "This:"}, {"type": "audio", "media": sound}],
        },
    ]
    return Kept(messages, 7, Sampling(temperature=0.5), {"audio": {"steps": 3}})


def test_what_is_saved_is_loaded(kept: Kept, tmp_path: Path) -> None:
    file = keeping.save(tmp_path / "kept", kept)
    picture = tmp_path / "a picture.jpg"
    assert (file.parent / "media" / "000_image.jpg").read_bytes() == picture.read_bytes(), "byte for byte"
    picture.unlink()
    found = keeping.load(tmp_path / "kept", KINDS)
    assert (found.seed, found.sampling, found.decode) == (7, kept.sampling, kept.decode)
    before, after = kept.messages[0]["content"], found.messages[0]["content"]
    assert (before[0]["media"].pixels == after[0]["media"].pixels).all()
    assert before[1] == after[1]
    sound = found.messages[1]["content"][1]["media"]
    torch.testing.assert_close(sound.samples, kept.messages[1]["content"][1]["media"].samples, atol=1e-4, rtol=0)
    again = keeping.save(tmp_path / "again", found)
    assert again.read_text() == file.read_text()
    assert keeping.save(tmp_path / "kept", found).read_text() == file.read_text(), "over itself"
    assert {one.name: one.read_bytes() for one in (tmp_path / "again/media").iterdir()} == {
        one.name: one.read_bytes() for one in (tmp_path / "kept/media").iterdir()
    }
    assert keeping.shown(found.messages) == ["  1 [image] Was ist das? é", "    This: [audio]"]


def test_a_file_that_changed_is_not_copied(kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "a picture.jpg").write_bytes(b"another thing")
    keeping.save(tmp_path / "kept", kept)
    found = keeping.load(tmp_path / "kept", KINDS)
    assert (found.messages[0]["content"][0]["media"].pixels == kept.messages[0]["content"][0]["media"].pixels).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"anyx": 2}, "it is no conversation of form 1"),
        ({"messages": 3}, "it is no conversation as /save writes them"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"seed": None}, "it is no conversation as /save writes them"),
        ({"sampling": {"temperature": -1}}, "sampling.temperature: -1 given"),
        ({"sampling": {"heat": 1}}, "it is no conversation as /save writes them"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "path": "../a picture.jpg"}]}]}, "leads out of"),
        ({"messages": [{"role": "user", "content": [{"type": "smell", "path": "x"}]}]}, "'smell' is not one of image"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "path": "media/none.png"}]}]}, "none.png"),
    ],
    ids=str,
)
def test_what_is_no_conversation_is_one_line(kept: Kept, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = keeping.save(tmp_path / "kept", kept)
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises((ValueError, OSError), match=said) as error:
        keeping.load(tmp_path / "kept", KINDS)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="no conversation can be read"):
        keeping.load(tmp_path / "none", KINDS)
