import json
from pathlib import Path

import torch

from anyx.decoders.griffin_lim import GriffinLim, LogMel


def chirp(rate: int = 16000, seconds: float = 1.0) -> torch.Tensor:
    t = torch.arange(int(rate * seconds)) / rate
    return 0.5 * torch.sin(2 * torch.pi * (200 * t + 900 * t**2))[None]


def test_frames_are_log_magnitudes_on_the_mel_scale() -> None:
    frames = LogMel(hop=160)(chirp())
    assert frames.shape == (1, 100, 64)
    peaks = frames[0].argmax(1)
    assert (peaks[5:-5].diff() >= 0).all()  # a rising tone climbs the bins
    assert peaks[90] > peaks[10] + 20
    assert torch.allclose(LogMel()(torch.zeros(1, 1600)), torch.tensor(1e-5).log())
    shifted = LogMel(hop=160, mean=-8.0, std=3.5)(chirp())
    torch.testing.assert_close(shifted * 3.5 - 8.0, frames)


def test_sound_survives_the_round_trip() -> None:
    vocoder = GriffinLim(hop=200)
    samples = chirp()
    frames = vocoder.analysis(samples)
    again = vocoder(frames)
    assert again.shape == samples.shape
    assert (vocoder.analysis(again) - frames).abs().mean() < 0.1  # in standard deviations
    assert 0.3 < again.abs().max() < 1
    assert torch.equal(again, vocoder(frames))
    both = vocoder(torch.cat([frames, frames.flip(1)]))
    torch.testing.assert_close(both[:1], again, atol=1e-3, rtol=0)


def test_nothing_to_learn_or_to_checkpoint(tmp_path: Path) -> None:
    vocoder = GriffinLim(bins=32, iterations=4)
    assert not vocoder.state_dict()
    vocoder.save_pretrained(tmp_path / "vocoder")
    again = GriffinLim(**json.loads((tmp_path / "vocoder" / "config.json").read_text()))
    frames = torch.randn(1, 20, 32)
    assert torch.equal(again(frames), vocoder(frames))
