from pathlib import Path

import pytest
import torch

from anyx.evaluation.classifiers import PictureJudge, SoundJudge, fitted, picture_net, sound_net, stored
from anyx.media import Audio, Image, Video

LABELS = ["a", "b", "c", "d", "e", "f"]


def noise(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_a_clip_is_the_mean_of_its_frames(tmp_path: Path) -> None:
    stored(picture_net(6), tmp_path / "p.safetensors")
    judge = PictureJudge(LABELS, path=tmp_path / "p.safetensors")
    frames = noise(3, 3, 64, 64)
    scores = judge([Video(frames, 8.0), *(Image(frame) for frame in frames)])
    assert scores.shape == (4, 6)
    torch.testing.assert_close(scores[0], scores[1:].mean(0), atol=1e-4, rtol=1e-4)
    assert judge([Image(noise(3, 48, 80))]).shape == (1, 6)


def test_a_sound_s_level_does_not_matter(tmp_path: Path) -> None:
    stored(sound_net(6), tmp_path / "s.safetensors")
    judge = SoundJudge(LABELS, path=tmp_path / "s.safetensors")
    samples = torch.randn(1, 20000).clamp(-1, 1) * 0.5
    scores = judge([Audio(samples, 16000), Audio(samples * 0.1, 16000)])
    torch.testing.assert_close(scores[0], scores[1], atol=1e-3, rtol=1e-3)
    assert len(fitted(Audio(torch.randn(2, 99999).clamp(-1, 1), 22050))) == len(fitted(Audio(samples, 16000)))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no judge's weights at .*none\.safetensors"):
        PictureJudge(LABELS, path=tmp_path / "none.safetensors")
