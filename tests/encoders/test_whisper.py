"""Whisper's encoder: the published shapes, shorter windows, pooling, clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyx.encoders.whisper import WhisperEncoder
from anyx.media import Audio, Image
from tests.components import WHISPER

TONE = Audio(torch.sin(torch.arange(8000) * 0.2)[None] * 0.5, 16000)


def test_a_shorter_window_keeps_the_first_positions(tmp_path: Path) -> None:
    from transformers import WhisperConfig, WhisperModel

    torch.manual_seed(0)
    whole = WhisperModel(WhisperConfig(**WHISPER)).eval()
    whole.save_pretrained(tmp_path)
    full, short = (WhisperEncoder(path=str(tmp_path), seconds=s).eval() for s in (None, 0.2))
    mel = full.transform(TONE)["mel"][None]
    assert mel.shape == (1, 8, 40)
    with torch.no_grad():
        torch.testing.assert_close(full({"mel": mel}).values, whole.encoder(mel).last_hidden_state)
        assert short({"mel": short.transform(TONE)["mel"][None]}).values.shape == (1, 10, 16)
    assert torch.equal(short.tower.embed_positions.weight, whole.encoder.embed_positions.weight[:10])
    assert not any("decoder" in key for key in short.state_dict())


def test_tokens_are_means_of_equal_spans() -> None:
    torch.manual_seed(0)
    plain, pooled = WhisperEncoder(config=WHISPER).eval(), WhisperEncoder(config=WHISPER, tokens=5).eval()
    pooled.load_state_dict(plain.state_dict())
    mel = plain.transform(TONE)["mel"][None]
    with torch.no_grad():
        wanted = plain({"mel": mel}).values.unflatten(1, (5, 4)).mean(2)
        torch.testing.assert_close(pooled({"mel": mel}).values, wanted)


def test_silence_pads_and_long_sounds_are_cut() -> None:
    transform = WhisperEncoder(config=WHISPER).transform
    for seconds in (0.01, 0.4, 9.0):
        mel = transform(Audio(torch.ones(2, int(44100 * seconds)) * 0.1, 44100))["mel"]
        assert mel.shape == (8, 40)
        assert mel.isfinite().all()


def test_silence_before_a_sound_is_left_out_down_to_a_lead() -> None:
    """What a short window hears is the same, whenever somebody began to speak."""
    quiet = 0.001 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    late = Audio(torch.cat([quiet, TONE.samples], 1), 16000)
    kept = WhisperEncoder(config=WHISPER, lead=0.1).transform
    whole = WhisperEncoder(config=WHISPER).transform
    begun = Audio(late.samples[:, 16000 - 1600 :], 16000)
    torch.testing.assert_close(kept(late)["mel"], whole(begun)["mel"])
    for sound in (begun, TONE, Audio(torch.zeros(1, 4000), 16000)):
        torch.testing.assert_close(kept(sound)["mel"], whole(sound)["mel"])
    assert (kept(late)["mel"] - whole(late)["mel"]).abs().max() > 0.5


def test_errors_name_what_was_given() -> None:
    with pytest.raises(ValueError, match="reads Audio, given Image"):
        WhisperEncoder(config=WHISPER).transform(Image(torch.zeros(3, 4, 4, dtype=torch.uint8)))
    with pytest.raises(ValueError, match=r"seconds: 31.0 is not within 0.02 and 0.4"):
        WhisperEncoder(config=WHISPER, seconds=31.0)
    with pytest.raises(ValueError, match="tokens: 0 is not within 1 and 20"):
        WhisperEncoder(config=WHISPER, tokens=0)
    with pytest.raises(ValueError, match="lead: -1 given; it is 0 seconds or more"):
        WhisperEncoder(config=WHISPER, lead=-1)
    with pytest.raises(ValueError, match=r"config.d_modle: .* Did you mean: 'd_model'"):
        WhisperEncoder(config=WHISPER | {"d_modle": 8})
    with pytest.raises(ValueError, match="either path"):
        WhisperEncoder()
