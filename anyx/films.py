"""Files of moving pictures <-> frames: films through PyAV, animated GIF, PNG and WebP through PIL.

Headers are held to the limits before anything is decoded, and what they announce is not believed after that: frames,
pixels, seconds and bytes are counted again as they come.

Letters: c channels, n samples, t frames, h height, w width.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image as PILImage
from PIL import ImageSequence
from torch import Tensor
from torch.nn import functional

from anyx import codecs
from anyx.faults import EmptyError, MediaError, OversizedError, TruncatedError, limits

WHOLE = 0.9  # of the frames that a header counts; edits of a film may leave some out
PAUSE = 100  # milliseconds that a frame of an animation is shown which says 0, as browsers do it
UNSEEN = "no moving pictures"
SOUND_RATE = 48000  # Hz of the sound in a video we write; AAC and Opus both take it
CODECS = {"mp4": ("libx264", "aac"), "webm": ("libvpx-vp9", "libopus")}
# x264's macroblock tree reads memory that it has not written: the same frames would make another file each time.
QUALITY = {"mp4": {"crf": "18", "mbtree": "0"}, "webm": {"crf": "18"}}
ANIMATIONS = {"gif": "GIF", "apng": "PNG"}


class Span(NamedTuple):
    """How many frames a film has, at which speed (frames per second); whether its header says so."""

    frames: int
    speed: float
    said: bool


def read_frames(
    file: BinaryIO,
) -> tuple[UInt8[Tensor, "t 3 h w"], float, tuple[Float[Tensor, "c n"], int] | None]:
    """Frames, frames per second, and the sound track if there is one."""
    head = file.read(12)
    file.seek(0)
    if head[:3] == b"GIF" or head[8:12] == b"WEBP" or head[:4] == b"\x89PNG" or head[:2] == b"\xff\xd8":
        return *_read_animation(file), None
    with codecs.opened(file) as container:
        span = _announced(container)
        counting = not span.said and limits().frames is not None
        frames, speed = ([], 0.0) if counting else _decoded(container, span)
        span = _counted(container, span) if counting else span
    if counting:
        file.seek(0)
        with codecs.opened(file) as container:
            frames, speed = _decoded(container, span)
    file.seek(0)
    return _stacked(frames), speed, codecs.read_track(file)


def _announced(container: Any) -> Span:
    """What headers say of a film's length."""
    if not container.streams.video:
        raise ValueError(f"{UNSEEN} in this file")
    held, stream = limits(), container.streams.video[0]
    held.hold("pixels", stream.width * stream.height)
    seconds = codecs.seconds_of(container, stream)
    held.hold("seconds", seconds)
    speed = float(stream.average_rate or stream.guessed_rate or 25)
    return Span(stream.frames or round(seconds * speed), speed, bool(stream.frames))


def _counted(container: Any, span: Span) -> Span:
    """A film whose header does not count its frames, by its packets: frames are to be chosen from all of them."""
    stream = container.streams.video[0]
    times = [packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None]
    if len(times) > 1 and not codecs.seconds_of(container, stream) and stream.time_base:
        lasts = float((max(times) - min(times)) * stream.time_base)
        return Span(len(times), (len(times) - 1) / max(lasts, 1e-6), False)
    return Span(len(times), span.speed, False)


def _decoded(container: Any, span: Span) -> tuple[list[UInt8[Tensor, "h w 3"]], float]:
    """The frames of a film, or as many of them as the limits let be kept, and the speed that this makes."""
    stream = container.streams.video[0]
    held, count = limits(), span.frames
    size = max(stream.width * stream.height * 3, 1)
    kept = min(count, held.frames, max(int(held.memory / size), 1)) if held.frames else count
    held.hold("memory", kept * size)
    taken = {int((place + 0.5) * count / kept) for place in range(kept)} if kept < count else None
    frames: list[UInt8[Tensor, "h w 3"]] = []
    seen, begin, memory = 0, None, 0
    for seen, frame in enumerate(container.decode(stream), 1):
        held.hold("pixels", frame.width * frame.height)
        begin = frame.time if begin is None else begin
        held.hold("seconds", frame.time - begin if frame.time is not None and begin is not None else 0)
        if taken is None or seen - 1 in taken:
            memory += frame.width * frame.height * 3
            held.hold("memory", memory)
            frames.append(_upright(frame))
        if held.frames is not None and len(frames) > held.frames:
            raise OversizedError(f"more frames follow than the {count} that its header counts")
        if taken is not None and len(frames) == kept:
            break
    if not frames:
        raise EmptyError("it has 0 frames")
    if span.said and seen < WHOLE * count and len(frames) < kept:
        raise TruncatedError(f"it is truncated: {seen} frames of {count}")
    speed = span.speed * kept / count if taken else span.speed
    held.hold("seconds", len(frames) / speed)
    return frames, speed


def _stacked(frames: list[UInt8[Tensor, "h w 3"]]) -> UInt8[Tensor, "t 3 h w"]:
    """The frames as one tensor; the list is emptied as it fills, so that they are in memory once."""
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        raise MediaError(f"a film has frames of one size (h, w), but this one has {sorted(map(tuple, sizes))}")
    height, width, _ = frames[0].shape
    whole = torch.empty(len(frames), 3, height, width, dtype=torch.uint8)
    for place in reversed(range(len(whole))):
        whole[place] = frames.pop().permute(2, 0, 1)
    return whole


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
    """Frames at a constant speed: those shown longer than the shortest are repeated, or chosen among by the limits."""
    held = limits()
    frames: list[UInt8[Tensor, "3 h w"]] = []
    times: list[float] = []
    shown, stride = 0.0, 1
    with codecs.open_picture(file) as picture:
        for place, frame in enumerate(ImageSequence.Iterator(picture)):
            held.hold("pixels", frame.width * frame.height)
            pixels = codecs.rgb(frame)
            times.append(frame.info.get("duration") or 0)  # WebP knows it once a frame is decoded
            shown += times[-1] or PAUSE
            held.hold("seconds", shown / 1000)
            if place % stride:
                continue
            frames.append(pixels)
            held.hold("memory", len(frames) * pixels.nbytes)
            if held.frames is not None and len(frames) > 2 * held.frames:  # how many will follow is not known
                frames, stride = frames[::2], 2 * stride
    if all(times):
        repeats = [round(time / min(times)) for time in times]
        speed = 1000 * sum(repeats) / sum(times)
    else:
        repeats, speed = [1] * len(times), 1.0 if len(times) == 1 else 1000 / PAUSE
    ends = list(accumulate(repeats))
    kept = min(ends[-1], held.frames or ends[-1])
    held.hold("memory", kept * frames[0].nbytes)
    if kept == len(frames) == len(times):
        return torch.stack(frames), speed
    chosen = [bisect_right(ends, int((place + 0.5) * ends[-1] / kept)) // stride for place in range(kept)]
    return torch.stack(frames)[chosen], speed * kept / ends[-1]


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
        stream.pix_fmt, stream.options = "yuv420p", dict(QUALITY[format])
        track: Any = container.add_stream(audio_codec, rate=SOUND_RATE, layout="mono") if sound is not None else None
        for picture in pictures.permute(0, 2, 3, 1).contiguous().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
        if sound is not None and track is not None:
            piece = av.AudioFrame.from_ndarray(sound.contiguous().numpy(), format="fltp", layout="mono")
            piece.sample_rate, piece.pts = SOUND_RATE, 0
            container.mux([*track.encode(piece), *track.encode()])
    return buffer.getvalue()
