"""Files of pictures, sound and moving pictures <-> tensors: what `media.py` reads and writes with.

Pictures go through PIL, sound through soundfile (PyAV where it cannot), moving pictures through PyAV; animated GIF and
WebP through PIL, which composes their frames. Errors are whatever these libraries raise, which `media.py` words, and
`MediaError` for what they let pass: NaN and infinity, shades beyond white, rates of no sound.

Letters: c channels, n samples, t frames, h height, w width.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from numpy.typing import NDArray
from PIL import Image as PILImage
from PIL import ImageOps, ImageSequence
from torch import Tensor
from torch.nn import functional

from anyx.faults import EmptyError, MediaError, TruncatedError, limits

SOUND_RATE = 48000  # Hz of the sound in a video we write; AAC and Opus both take it
CODECS = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}
ANIMATIONS = {"gif": "GIF", "apng": "PNG"}
PICTURES = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "tif": "TIFF"}
WHITE = 65535  # of deep grey in integers
TABLE_RATIO = 3000  # the most that torchaudio resamples here: the usual rates, 8 to 192 kHz, make ratios of up to 2560
WHOLE = 0.9  # of the frames that a header counts; edits of a film may leave some out
SLACK, STREAMED = 64, 2**31 - 2**16  # bytes: writers miscount by a few; larger sizes in a header mean "not known"
FILTER_RATIO = 1_000_000  # beyond it a filter takes gigabytes; a rate like that is a broken header


def finite(numbers: Tensor) -> Tensor:
    """The same numbers, none of them NaN or infinite: one would spoil the whole batch that it comes into."""
    if not torch.isfinite(numbers).all():
        raise MediaError(f"the numbers must be finite, but NaN or infinity is among these {tuple(numbers.shape)}")
    return numbers


def open_picture(file: BinaryIO) -> PILImage.Image:
    """A picture whose header alone has been read, and found within the limits."""
    picture = PILImage.open(file)
    limits().hold("pixels", picture.width * picture.height)
    return picture


def rgb(picture: PILImage.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of a PIL image, upright as its EXIF says; alpha is laid on white, deep grey becomes 8-bit."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = PILImage.fromarray(shallow(np.asarray(picture)))
    if "A" in picture.getbands() or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = PILImage.alpha_composite(PILImage.new("RGBA", picture.size, "white"), picture)
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous()


def grey(picture: PILImage.Image) -> Int32[Tensor, "h w"] | Float[Tensor, "h w"] | None:
    """The levels of a picture in deep grey, upright, as stored: 0 to 65535, or 0 to 1 of floats; of others None."""
    if not picture.mode.startswith(("I", "F")):
        return None
    levels = np.asarray(ImageOps.exif_transpose(picture))
    return torch.from_numpy(levels.astype(np.float32 if picture.mode == "F" else np.int32))


def shallow(levels: NDArray[Any]) -> NDArray[np.uint8]:
    """8 bits of integer grey (0 to 65535) or of float grey (0 to 1), which PIL would cut off at 255."""
    floating = np.issubdtype(levels.dtype, np.floating)
    white = 1 if floating else WHITE
    if not (levels.min() >= 0 and levels.max() <= white):  # NaN is neither
        mode, found = "F" if floating else "I", f"{levels.min()} to {levels.max()}"
        raise MediaError(f"deep grey of PIL's mode {mode} holds values from 0 to {white}, but {found} was given")
    return (levels * 255 if floating else levels / 257).round().astype(np.uint8)


def resize_grey(
    levels: Int32[Tensor, "h w"] | Float[Tensor, "h w"], height: int, width: int
) -> Int32[Tensor, "height width"] | Float[Tensor, "height width"]:
    """Deep grey through PIL's bicubic filter in floats; what the filter throws beyond black and white is cut off."""
    picture = PILImage.fromarray(levels.float().numpy()).resize((width, height), PILImage.Resampling.BICUBIC)
    resized = torch.from_numpy(np.array(picture))
    return resized.clamp(0, 1) if levels.is_floating_point() else resized.clamp(0, WHITE).round().int()


def write_picture(picture: PILImage.Image | Int32[Tensor, "h w"] | Float[Tensor, "h w"], format: str) -> bytes:
    """A file of a format in `PICTURES`, of a picture or of deep grey, which only formats that hold its levels take."""
    name, buffer = PICTURES[format], io.BytesIO()
    if isinstance(picture, Tensor):
        deep = ("TIFF",) if picture.is_floating_point() else ("PNG", "TIFF")
        if name not in deep:
            kind, formats = "floats" if picture.is_floating_point() else "integers", " or ".join(deep).lower()
            raise ValueError(f"{format!r} cannot hold deep grey of {kind}: write {formats}, or Image(pixels) in 8 bits")
        levels = picture.numpy()
        picture = PILImage.fromarray(levels if picture.is_floating_point() else levels.astype(np.uint16))
    picture.save(buffer, name, **({"quality": 95} if name in ("JPEG", "WEBP") else {}))
    return buffer.getvalue()


def resample(samples: Float[Tensor, "c n"], rate: int, to: int) -> Float[Tensor, "c m"]:
    """The same sound at the rate `to`; m = ceil(n * to / rate)."""
    common = math.gcd(int(rate), int(to))
    old, new = int(rate) // common, int(to) // common
    if max(old, new) <= TABLE_RATIO:
        from torchaudio.functional import resample as resample_by_table

        resampled: Tensor = resample_by_table(samples, rate, to)
        return resampled
    if max(old, new) > FILTER_RATIO:
        raise MediaError(f"sound at {rate} Hz cannot be resampled to {to} Hz: they have too little in common")
    from scipy.signal import resample_poly  # torchaudio's table has old x new entries, this filter 20 x the larger

    return torch.from_numpy(resample_poly(samples.numpy(force=True), new, old, axis=-1)).to(samples)


def read_samples(file: BinaryIO) -> tuple[Float[Tensor, "c n"], int]:
    """Samples and rate of a sound file, or of a video file's first sound track."""
    import soundfile

    _whole(file)
    try:
        with soundfile.SoundFile(file) as sound:
            hold_sound(sound.frames, sound.samplerate, sound.channels)
            samples, rate = sound.read(dtype="float32", always_2d=True), sound.samplerate
        if not len(samples):
            raise EmptyError("it lasts 0 seconds")
        return finite(torch.from_numpy(samples.T.copy())), rate
    except soundfile.LibsndfileError:
        file.seek(0)
    track = _read_track(file)
    if track is None:
        raise ValueError("no sound track in this file")
    return track


def hold_sound(length: int, rate: int, channels: int) -> None:
    """Hold sound of so many samples to the limits."""
    limits().hold("seconds", length / rate)
    limits().hold("memory", length * channels * 4)


def _whole(file: BinaryIO) -> None:
    """Refuse a WAV file that is shorter than its header says, which libsndfile would read as far as it goes."""
    head = file.read(12)
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    announced = int.from_bytes(head[4:8], "little") + 8
    if head[:4] == b"RIFF" and head[8:] == b"WAVE" and length + SLACK < announced < STREAMED:
        raise TruncatedError(f"it is truncated: {length:,} bytes of {announced:,}")


def write_samples(samples: Float[Tensor, "c n"], rate: int, format: str) -> bytes:
    """A wav (16 bit), flac or ogg (Vorbis) file."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, len(samples), format=format.upper()) as file:
        for start in range(0, samples.shape[1], rate):  # libsndfile's Vorbis overflows the stack on long blocks
            file.write(samples[:, start : start + rate].T.contiguous().numpy())
    return buffer.getvalue()


def read_frames(
    file: BinaryIO,
) -> tuple[UInt8[Tensor, "t 3 h w"], float, tuple[Float[Tensor, "c n"], int] | None]:
    """Frames, frames per second, and the sound track if there is one."""
    head = file.read(12)
    file.seek(0)
    if head[:3] == b"GIF" or head[8:12] == b"WEBP" or head[:4] == b"\x89PNG" or head[:2] == b"\xff\xd8":
        return *_read_animation(file), None
    import av

    with av.open(file, "r") as container:
        if not container.streams.video:
            raise ValueError("no moving pictures in this file")
        frames, speed = _decoded(container, container.streams.video[0])
    file.seek(0)
    return torch.stack(frames).permute(0, 3, 1, 2).contiguous(), speed, _read_track(file)


def _decoded(container: Any, stream: Any) -> tuple[list[UInt8[Tensor, "h w 3"]], float]:
    """The frames of a stream, or as many of them as the limits let be kept, and the speed that this makes."""
    held, pixels = limits(), stream.width * stream.height
    speed = float(stream.average_rate or stream.guessed_rate or 25)
    seconds = _seconds(container, stream)
    held.hold("pixels", pixels)
    held.hold("seconds", seconds)
    count = stream.frames or round(seconds * speed)
    kept = min(count, held.frames or count)
    held.hold("memory", kept * pixels * 3)
    taken = {int((place + 0.5) * count / kept) for place in range(kept)} if kept < count else None
    frames, seen = [], 0
    for seen, frame in enumerate(container.decode(stream), 1):
        if taken is None or seen - 1 in taken:
            frames.append(_upright(frame))
            held.hold("memory", len(frames) * pixels * 3)
        if taken is not None and len(frames) == kept:
            break
    if not seen:
        raise EmptyError("it has 0 frames")
    if seen < WHOLE * stream.frames and len(frames) < kept:
        raise TruncatedError(f"it is truncated: {seen} frames of {stream.frames}")
    return frames, speed * kept / count if taken else speed


def _seconds(container: Any, stream: Any) -> float:
    """How long a stream lasts, as far as headers say; else 0."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / 1_000_000


def _upright(frame: Any) -> UInt8[Tensor, "h w 3"]:
    """A decoded frame, turned and mirrored as its display matrix says; only quarter turns are known."""
    picture = torch.from_numpy(frame.to_ndarray(format="rgb24"))
    if not frame.rotation or frame.rotation % 90:
        return picture
    matrix = np.frombuffer(bytes(frame.side_data["DISPLAYMATRIX"]), np.int32).reshape(3, 3)
    right, down = matrix[0, :2], matrix[1, :2]  # where the stored picture's axes point to: (x, y)
    if not right[0]:
        picture, right, down = picture.transpose(0, 1), down, right
    return picture.flip([axis for axis, sign in ((0, down[1]), (1, right[0])) if sign < 0])


def _read_animation(file: BinaryIO) -> tuple[UInt8[Tensor, "t 3 h w"], float]:
    """Frames at a constant speed: those shown longer than the shortest are repeated."""
    with open_picture(file) as picture:
        frames, times = [], []
        for frame in ImageSequence.Iterator(picture):
            frames.append(rgb(frame))
            limits().hold("memory", len(frames) * frames[0].nbytes)
            times.append(frame.info.get("duration") or 0)
    if not all(times):
        return torch.stack(frames), 1.0 if len(frames) == 1 else 10.0
    repeats = torch.tensor([round(time / min(times)) for time in times])
    return torch.stack(frames).repeat_interleave(repeats, 0), 1000 * int(repeats.sum()) / sum(times)


def _read_track(file: BinaryIO) -> tuple[Float[Tensor, "c n"], int] | None:
    import av

    with av.open(file, "r") as container:
        if not container.streams.audio:
            return None
        stream = container.streams.audio[0]
        hold_sound(round(_seconds(container, stream) * stream.rate), stream.rate, stream.channels)
        to_float = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
        frames = [part for frame in container.decode(stream) for part in to_float.resample(frame)]
        if not frames:
            raise EmptyError("its sound lasts 0 seconds")
        samples = torch.from_numpy(np.concatenate([frame.to_ndarray() for frame in frames], axis=1))
        return finite(samples), stream.rate


def write_animation(pictures: Sequence[PILImage.Image], fps: float, format: str) -> bytes:
    """An endless GIF, whose clock ticks in hundredths of a second, or animated PNG, which loses nothing."""
    buffer = io.BytesIO()
    first, *rest = pictures
    kind, duration = ANIMATIONS[format], round(1000 / fps)
    first.save(buffer, kind, save_all=True, append_images=rest, duration=duration, loop=0)
    return buffer.getvalue()


def write_frames(
    frames: UInt8[Tensor, "t 3 h w"], fps: float, sound: Float[Tensor, "1 n"] | None, format: str
) -> bytes:
    """An mp4 or webm file; `sound` is at `SOUND_RATE`. 4:2:0 colour wants even sizes, so an odd edge is doubled."""
    import av

    video_codec, audio_codec = CODECS[format]
    height, width = frames.shape[2:]
    pictures = functional.pad(frames.float(), (0, width % 2, 0, height % 2), mode="replicate").to(torch.uint8)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=format) as container:
        stream: Any = container.add_stream(video_codec, rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = pictures.shape[2:]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "18"}
        track: Any = container.add_stream(audio_codec, rate=SOUND_RATE, layout="mono") if sound is not None else None
        for picture in pictures.permute(0, 2, 3, 1).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
        if sound is not None and track is not None:
            piece = av.AudioFrame.from_ndarray(sound.contiguous().numpy(), format="fltp", layout="mono")
            piece.sample_rate, piece.pts = SOUND_RATE, 0
            container.mux([*track.encode(piece), *track.encode()])
    return buffer.getvalue()
