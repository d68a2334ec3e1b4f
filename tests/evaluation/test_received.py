"""Media as lmms-eval has them become ours: by what they are, by their suffix, and of clips the span that is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from anyx.evaluation.received import read, within
from anyx.media import Audio, Image, Video


def counted(seconds: int, fps: int = 4, rate: int = 1000) -> Video:
    """Frame i is grey i, sample i is i / 10000."""
    frames = torch.arange(seconds * fps, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16).contiguous()
    return Video(frames, float(fps), Audio(torch.arange(seconds * rate)[None] / 1e4, rate))


def test_a_picture_of_pil() -> None:
    found = read(PILImage.new("RGB", (4, 2), (9, 8, 7)))
    assert isinstance(found, Image)
    assert found.pixels[:, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16])
def test_samples_with_their_rate(kind: type) -> None:
    """Half of full scale, whatever they are counted in: 0.5, or 16384 of 32767; the rate may be NumPy's."""
    value = 16384 if kind is np.int16 else 0.5
    found = read({"array": np.full(8, value, kind), "sampling_rate": np.int64(16000)})
    assert isinstance(found, Audio)
    assert (found.rate, found.samples.shape, found.samples.dtype) == (16000, (1, 8), torch.float32)
    assert found.samples.unique().tolist() == pytest.approx([0.5], abs=1e-4)


def test_two_channels_stay_two() -> None:
    found = read({"array": [[0.0, 0.25], [0.5, 0.75]], "sampling_rate": 8000})
    assert isinstance(found, Audio)
    assert found.samples.tolist() == [[0, 0.25], [0.5, 0.75]]


def test_the_decoder_of_datasets() -> None:
    """`datasets` 4 and later hand over a decoder that answers to the two keys, and is no mapping."""

    class AudioDecoder:
        def __getitem__(self, key: str) -> object:
            return {"array": np.zeros(4, np.float32), "sampling_rate": 22050}[key]

    found = read(AudioDecoder())
    assert isinstance(found, Audio)
    assert found.rate == 22050


def test_a_path_is_what_its_suffix_says(tmp_path: Path) -> None:
    clip = counted(1)
    assert clip.audio is not None
    for name, medium in (("a.PNG", Image(clip.frames[0])), ("a.flac", clip.audio), ("a.apng", clip)):
        file = medium.save(tmp_path / name.lower()).rename(tmp_path / name)
        assert type(read(str(file))) is type(medium)
        assert type(read({"type": "video", "url": file})) is type(medium)


def test_a_span_of_a_clip() -> None:
    """From 1 s to 2.5 s at 4 frames and 1000 samples a second: frames 4 to 9, samples 1000 to 2499."""
    found = within(counted(3), 1.0, 2.5)
    assert found.frames[:, 0, 0, 0].tolist() == [4, 5, 6, 7, 8, 9]
    assert found.audio is not None
    assert (found.audio.samples[0, 0].item(), found.audio.samples.shape) == (pytest.approx(0.1), (1, 1500))
    assert len(within(counted(3), None, 0.5).frames) == 2
    assert len(within(counted(3), 2, None).frames) == 4


def test_a_span_beyond_the_end_is_its_last_frame() -> None:
    found = within(counted(1), 5.0, 6.0)
    assert (found.frames[:, 0, 0, 0].tolist(), found.audio) == ([3], None)


def test_a_span_that_is_asked_by_a_mapping(tmp_path: Path) -> None:
    file = counted(3).save(tmp_path / "a.apng")
    found = read({"type": "video", "path": str(file), "video_start": 1.0, "video_end": 2.0})
    assert isinstance(found, Video)
    assert found.frames[:, 0, 0, 0].tolist() == [4, 5, 6, 7]


def test_what_is_no_medium_is_named() -> None:
    with pytest.raises(ValueError, match="says what it is by array, path or url; this one has frames, fps"):
        read({"frames": [], "fps": 1})
