"""Replies as bodies: where words are cut, how neighbours join, what comes inline."""

from __future__ import annotations

import base64

import pytest
import torch

from anyx.media import Audio, Series
from anyx.serving.front import Made
from anyx.serving.replying import Cut, Shape, Shelved, message
from anyx.serving.sounds import FORMATS, encoded
from anyx.serving.store import Store

SOUND = Audio(torch.sin(torch.arange(16000) * 0.1)[None] * 0.5, 16000)


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_words_are_cut_at_a_stop_however_they_come(size: int) -> None:
    words = "one two, three stop four"
    pieces = [words[at : at + size] for at in range(0, len(words), size)]
    cut = Cut(["stop", "two three"])
    assert "".join(cut.hear(piece) for piece in pieces if not cut.found) == "one two, three "
    assert cut.found
    whole = Cut(["four!", "x"])
    assert "".join(map(whole.hear, pieces)) + whole.rest() == words
    assert not whole.found


def test_a_reply_holds_its_parts_in_order() -> None:
    store = Store()
    sound = Shelved.put(store, Made("voice", SOUND))
    steps = Shelved.put(store, Made("motion", Series(torch.ones(2, 3))))
    shape = Shape(frozenset({"voice"}), lambda kept: f"http://here/media/{kept.name}", "flac")
    whole = message(["He", "ar: ", sound, " and", steps], shape)
    assert whole["content"] == "Hear:  and"
    assert [part["type"] for part in whole["parts"]] == ["text", "audio_url", "text", "motion"]
    assert whole["parts"][1]["audio_url"]["url"].startswith("data:audio/wav;base64,")
    assert whole["parts"][3]["motion"]["url"] == f"http://here/media/{steps.kept.name}"
    assert base64.b64decode(whole["audio"]["data"]).startswith(b"fLaC")
    assert "audio" not in message([sound, sound], shape)
    assert message(["Hi."], shape) == {"role": "assistant", "content": "Hi.", "refusal": None}


@pytest.mark.parametrize("format", list(FORMATS))
def test_sounds_are_the_same_in_every_format(format: str) -> None:
    data = encoded(SOUND, format)
    if format == "pcm":
        samples = torch.frombuffer(bytearray(data), dtype=torch.int16).float() / 32768
        heard = Audio(samples[None], 24000)
    else:
        heard = Audio.read(data)
    assert abs(heard.seconds - 1) < 0.1
    assert float(heard.samples.square().mean()) == pytest.approx(float(SOUND.samples.square().mean()), rel=0.1)
