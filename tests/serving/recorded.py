"""What browsers' MediaRecorder sends: Matroska that was written as it came, without a length, lengths or an index."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anyx.media import Audio

WIDTH, HEIGHT, SPEED = 64, 48, 10


class Stream(io.RawIOBase):
    """A file that cannot be gone back in: lengths stay unknown, as they are while somebody still records."""

    def __init__(self) -> None:
        self.held = b""

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        self.held += bytes(data)
        return len(data)


def recording(sound: Audio | None = None, frames: Tensor | None = None, form: str = "webm") -> bytes:
    """Opus and VP8 in webm, as Chromium and Firefox make it, or AAC and H.264 in fragments of mp4, as Safari does."""
    import av

    file = Stream()
    webm = form == "webm"
    options = {"live": "1"} if webm else {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    with av.open(file, "w", format=form, options=options) as container:
        film: Any = None
        if frames is not None:
            film = container.add_stream("libvpx" if webm else "libx264", rate=SPEED)
            film.height, film.width = frames.shape[2:]
            film.pix_fmt, film.options = "yuv420p", {"crf": "4", "b": "1M"}
        track: Any = None
        if sound is not None:
            track = container.add_stream("libopus" if webm else "aac", rate=48000, layout="mono")
        packets = [] if frames is None else list(film_packets(film, frames))
        packets += [] if sound is None else list(track_packets(track, sound))
        for packet in sorted(packets, key=lambda one: (one.dts or 0) * one.time_base):
            container.mux(packet)
    return file.held


def film_packets(stream: Any, frames: Tensor) -> Iterator[Any]:
    import av

    for place, frame in enumerate(frames.permute(0, 2, 3, 1).numpy()):
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = place
        yield from stream.encode(picture)
    yield from stream.encode()


def track_packets(stream: Any, sound: Audio) -> Iterator[Any]:
    import av

    samples = sound.mono().resample(48000).samples.numpy()
    piece = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    piece.sample_rate, piece.pts = 48000, 0
    yield from stream.encode(piece)
    yield from stream.encode()


def shades(count: int = 15) -> Tensor:
    """Frames that grow brighter."""
    levels = torch.linspace(20, 230, count).to(torch.uint8)
    return levels[:, None, None, None].expand(count, 3, HEIGHT, WIDTH).contiguous()
