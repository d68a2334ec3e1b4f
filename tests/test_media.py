"""Files, bytes and arrays to media and back, in every format; what is corrupt is one MediaError."""

import io
import math
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as PILImage
from torchaudio.functional import resample as published_resample

from anyx.media import MEDIA, Audio, Image, MediaError, Series, Video, read


def picture(height: int = 27, width: int = 35) -> Image:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return Image(torch.stack([rows * 5, columns * 5, rows + columns]).to(torch.uint8))


def tone(seconds: float = 0.5, rate: int = 16000) -> Audio:
    return Audio(0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(int(seconds * rate)) / rate)[None], rate)


def clip(count: int = 6, audio: Audio | None = None) -> Video:
    frames = torch.stack([picture().pixels.roll(3 * index, dims=2) for index in range(count)])
    return Video(frames, 12.5, audio)


@pytest.mark.parametrize(("suffix", "off"), [("png", 0), ("tiff", 0), ("jpg", 6), ("webp", 12)])
def test_images_round_trip(tmp_path, suffix, off):
    path = picture().save(tmp_path / "new" / f"a.{suffix}")
    for source in (path, str(path), path.read_bytes()):
        again = Image.read(source)
        assert again.size == (27, 35)
        assert (again.pixels.float() - picture().pixels).abs().mean() <= off


def test_an_image_is_read_from_whatever_holds_pixels():
    image = picture()
    same = [image, image.pixels, image.pixels.float() / 255, image.numpy(), image.to_pil()]
    assert all(torch.equal(Image.read(source).pixels, image.pixels) for source in same)
    assert Image.read(image.numpy()[..., 0]).pixels.shape == (3, 27, 35)
    assert Image.read(np.zeros((4, 5, 4))).size == (4, 5)
    assert image.resize(8, 9).size == (8, 9)


def test_alpha_is_laid_on_white():
    clear = PILImage.new("RGBA", (4, 4), (255, 0, 0, 0))
    tensor = torch.from_numpy(np.array(clear)).permute(2, 0, 1)
    for source in (clear, np.array(clear), np.array(clear) / 255, tensor):
        assert (Image.read(source).pixels == 255).all()


def test_a_turned_photo_is_read_upright():
    exif, file = PILImage.Exif(), io.BytesIO()
    exif[0x0112] = 6  # the camera was held upright: turn a quarter clockwise
    picture().to_pil().save(file, "PNG", exif=exif)
    upright = picture().pixels.rot90(-1, (1, 2))
    assert torch.equal(Image.read(file.getvalue()).pixels, upright)
    assert torch.equal(Video.read(file.getvalue()).frames[0], upright)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((8, 8, 2), np.uint8),
        np.zeros(8, np.uint8),
        torch.zeros(8, 8, 3),
        np.full((8, 8, 3), 300),
        np.ones((8, 8, 3), bool),
        np.array([["a"]]),
    ],
    ids=lambda source: f"{source.dtype}{tuple(source.shape)}",
)
def test_arrays_that_are_no_picture_are_refused(source: object):
    with pytest.raises(MediaError, match=r"h, w, c|floats or uint8"):
        Image.read(source)


@pytest.mark.parametrize(("suffix", "off"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)])
def test_audio_round_trips(tmp_path, suffix, off):
    path = tone().save(tmp_path / f"a.{suffix}")
    again = Audio.read(path)
    assert (again.rate, again.seconds) == (16000, 0.5)
    assert (again.samples - tone().samples).abs().max() <= off
    assert Audio.read(path.read_bytes(), rate=8000).samples.shape == (1, 4000)


def test_audio_from_arrays():
    array = (tone().samples * 32767).to(torch.int16)
    for source in (array, array.numpy(), array[0], array[0].numpy()):
        assert (Audio.read(source, rate=16000).samples - tone().samples).abs().max() < 1e-4
    with pytest.raises(ValueError, match="rate="):
        Audio.read(array)
    assert Audio.read(np.array([0, 128, 192], np.uint8), rate=8000).samples.tolist() == [[-1, 0, 0.5]]
    for wrong in (array.long(), array > 0, array[None], array[0, 0]):
        with pytest.raises(MediaError, match=r"floats or int16|\(c, n\)"):
            Audio.read(wrong, rate=16000)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_are_refused(wrong, tmp_path):
    samples, pictures = tone().samples.clone(), torch.rand(2, 3, 8, 8)
    samples[0, 7] = pictures[1, 2, 3, 4] = wrong
    soundfile.write(tmp_path / "a.wav", samples[0].numpy(), 16000, subtype="FLOAT")
    for path in (tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes()):
        with pytest.raises(MediaError, match=r"cannot read .*NaN or infinity"):
            Audio.read(path)
    for source in (samples, samples.numpy(), samples.half(), samples[0].double().numpy()):
        with pytest.raises(MediaError, match="NaN or infinity"):
            Audio.read(source, rate=16000)
    for source in (pictures[1], pictures[1].permute(1, 2, 0).numpy()):
        with pytest.raises(MediaError, match="NaN or infinity"):
            Image.read(source)
    for source in (pictures, pictures.permute(0, 2, 3, 1).numpy(), list(pictures)):
        with pytest.raises(MediaError, match="NaN or infinity"):
            Video.read(source, fps=2)


def test_minutes_of_ogg_are_written():
    """In a process of its own: libsndfile's stack overflows where it is handed all samples at once."""
    code = "import torch; from anyx import Audio; x = torch.randn(1, 8000 * 300) * 0.1; Audio(x, 8000).to_bytes('ogg')"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_resampling_keeps_the_tone_and_its_length():
    sound = tone().resample(24000)
    assert sound.seconds == 0.5
    peak = torch.fft.rfft(sound.samples[0]).abs().argmax() / 0.5
    assert peak == 440
    assert Audio(torch.stack([torch.ones(4), -torch.ones(4)]), 10).mono().samples.abs().max() == 0


@pytest.mark.parametrize("rate", [11127, 47999])
def test_rates_with_little_in_common_are_resampled_soon(rate):
    """By torchaudio the first takes a minute, the second all memory; what is right here is the sine itself."""
    start = time.process_time()
    sound = Audio(tone(2.0, rate).samples[:, :-5].repeat(2, 1), rate).resample(16000)
    assert time.process_time() - start < 20
    assert sound.samples.shape == (2, math.ceil((2 * rate - 5) * 16000 / rate))
    wanted = tone(2.0).samples[:, : sound.samples.shape[1]]
    assert (sound.samples - wanted)[:, 50:-50].abs().max() < 0.005


def test_the_usual_rates_are_resampled_as_published():
    """torchaudio's default is what the published models heard: bit by bit the same."""
    rates = (8000, 11025, 16000, 22050, 24000, 44100, 48000, 96000)
    for old in rates:
        for new in {*rates} - {old}:
            sound = tone(0.02, old)
            assert torch.equal(sound.resample(new).samples, published_resample(sound.samples, old, new))


def test_rates_that_are_none_are_refused():
    for rate in (0, -8000, 8000.5, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"whole number of Hz > 0, but .* was given"):
            tone().resample(rate)
        with pytest.raises(MediaError, match="rate > 0 Hz, a whole number"):
            Audio(tone().samples, rate)
    with pytest.raises(MediaError, match="2147483647 Hz cannot be resampled to 16000 Hz"):
        Audio(tone().samples, 2**31 - 1).resample(16000)


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((0, 1, -1, 0), lambda frames: frames.rot90(-1, (2, 3))),  # the phone was held upright
        ((-1, 0, 0, -1), lambda frames: frames.rot90(2, (2, 3))),
        ((0, -1, 1, 0), lambda frames: frames.rot90(1, (2, 3))),
        ((-1, 0, 0, 1), lambda frames: frames.flip(3)),  # a mirror, which PyAV calls a half turn
        ((0, 1, 1, 0), lambda frames: frames.transpose(2, 3)),
    ],
)
def test_a_turned_video_is_read_upright(matrix, turn):
    """The track header holds (a, b, u, c, d, v, x, y, w): 16.16 fixed point, but 2.30 for u, v and w."""
    data = bytearray(clip(audio=tone()).to_bytes("mp4"))
    a, b, c, d = (value << 16 for value in matrix)
    plain, start = Video.read(bytes(data)), data.index(b"tkhd") + 44
    assert struct.unpack_from(">9i", data, start) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    turned = Video.read(bytes(data))
    assert torch.equal(turned.frames, turn(plain.frames))
    assert turned.frames.is_contiguous()
    assert (turned.fps, turned.audio is None) == (plain.fps, False)


@pytest.mark.parametrize("suffix", ["mp4", "webm", "gif"])
def test_video_round_trips(tmp_path, suffix):
    path = clip(audio=tone()).save(tmp_path / f"a.{suffix}")
    again = Video.read(path)
    assert len(again.frames) == 6
    assert again.fps == pytest.approx(12.5)
    assert again.seconds == pytest.approx(0.48)
    assert (again.frames[:, :, :27, :35].float() - clip().frames).abs().mean() < 12
    assert (again.audio is None) == (suffix == "gif")
    if again.audio:
        assert Audio.read(path).seconds == pytest.approx(0.5, abs=0.06)


def test_a_video_of_many_sources():
    video = clip()
    pictures = [Image(frame) for frame in video.frames]
    for source in (video, video.frames, video.frames.permute(0, 2, 3, 1).numpy(), pictures):
        assert torch.equal(Video.read(source, fps=12.5).frames, video.frames)
    assert len(Video.read(picture().to_bytes("png")).frames) == 1
    for still in (pictures[0], pictures[0].to_pil()):
        assert torch.equal(Video.read(still).frames, video.frames[:1])
    with pytest.raises(ValueError, match="fps="):
        Video.read(pictures)
    with pytest.raises(MediaError, match=r"one size \(h, w\), but 2 frames of \[\(8, 9\), \(27, 35\)\]"):
        Video.read([pictures[0], pictures[1].resize(8, 9)], fps=2)
    with pytest.raises(MediaError, match=r"but \(8, 9, 3\) was given"):
        Video.read(np.zeros((8, 9, 3)), fps=2)


def test_a_video_is_resampled_in_time():
    video = clip(8, tone())
    half = Video.read(video, fps=6.25)
    assert (half.fps, half.seconds, half.audio) == (6.25, video.seconds, video.audio)
    assert torch.equal(half.frames, video.frames[1::2])
    assert torch.equal(video.resample(25).frames, video.frames.repeat_interleave(2, 0))
    assert len(Video.read(picture().to_bytes(), fps=4).frames) == 4


def test_frames_shown_longer_are_repeated(tmp_path):
    first, second = (Image(frame).to_pil() for frame in clip(2).frames)
    first.save(tmp_path / "a.webp", save_all=True, append_images=[second], duration=[100, 300], lossless=True)
    video = Video.read(tmp_path / "a.webp")
    assert (len(video.frames), video.fps) == (4, 10)


def test_sampling_takes_the_middles():
    assert torch.equal(clip(6).sample(3).frames, clip(6).frames[[1, 3, 5]])
    assert clip(6).sample(3).seconds == pytest.approx(clip(6).seconds)
    assert len(clip(2).sample(5).frames) == 5
    moments = clip(6).moments(3)
    assert moments == pytest.approx([1 / clip(6).fps, 3 / clip(6).fps, 5 / clip(6).fps])
    assert len(clip(2).moments(5)) == 5


@pytest.mark.parametrize("kind", list(MEDIA))
@pytest.mark.parametrize("source", [b"", b"no media at all", "missing.file", 3.5, "truncated"])
def test_what_cannot_be_read_is_one_error(kind, source):
    if source == "truncated":
        readings = Series(torch.rand(6, 40), 50.0)
        whole = {
            "image": picture().to_bytes(),
            "audio": tone().to_bytes("flac"),
            "video": clip().to_bytes(),
            "series": readings.to_bytes(),
        }[kind]
        source = whole[: len(whole) // 4]
    with pytest.raises(MediaError):
        read(kind, source)


def test_values_are_checked():
    with pytest.raises(MediaError, match=r"torch.uint8 \(3, any, any\), but torch.uint8 \(1, 2, 2\)"):
        Image(torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ValueError, match="rate > 0 Hz"):
        Audio(torch.zeros(1, 2), 0)
    with pytest.raises(ValueError, match="'bmp' is not one of png, jpg"):
        picture().to_bytes("bmp")
    with pytest.raises(ValueError, match="'smell' is not one of image, audio, video"):
        read("smell", b"")
    with pytest.raises(MediaError, match="sound track"):
        Audio.read(clip().to_bytes("mp4"))
