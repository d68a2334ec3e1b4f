"""Films and animations whose headers say nothing, or too little, are held to the limits as they are decoded."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from anyx import codecs, films
from anyx.faults import Limits, MediaError, OversizedError, within
from anyx.media import Audio, Image, Video


def streamed(frames: int, size: int = 32) -> bytes:
    """A film as a browser records it: neither its length nor the number of its frames stands in its header."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska", options={"live": "1"}) as container:
        stream: Any = container.add_stream("libvpx-vp9", rate=8, width=size, height=size, pix_fmt="yuv420p")
        stream.options = {"deadline": "realtime", "cpu-used": "8"}
        for place in range(frames):
            shade = np.full((size, size, 3), 7 * place % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def lying(data: bytes, seconds: float) -> bytes:
    """The same matroska file, which says that it lasts so long."""
    place = data.index(b"\x44\x89\x88") + 3
    return data[:place] + struct.pack(">d", 1000 * seconds) + data[place + 8 :]


def webm(frames: int) -> bytes:
    return Video(torch.randint(0, 256, (frames, 3, 32, 32), dtype=torch.uint8), 8.0).to_bytes("webm")


def test_a_film_that_does_not_say_how_long_it_is_is_read_and_chosen_from() -> None:
    data = streamed(40)
    with av.open(io.BytesIO(data)) as container:
        assert not container.streams.video[0].frames
        assert not container.duration
    whole = Video.read(data)
    assert len(whole.frames) == 40
    with within(Limits(frames=5)):
        some = Video.read(data)
    assert torch.equal(some.frames, whole.sample(5).frames)
    assert some.seconds == pytest.approx(5.0, rel=0.05)
    with within(Limits(seconds=3)), pytest.raises(OversizedError, match="seconds are more than the 3"):
        Video.read(data)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 1e9, -1.0])
def test_a_film_that_lies_about_its_length_takes_no_more_than_is_allowed(seconds: float) -> None:
    data = lying(webm(24), seconds)
    with within(Limits(frames=4, memory=4 * 32 * 32 * 3, seconds=60)):
        if seconds > 60:
            with pytest.raises(OversizedError, match="seconds are more"):
                Video.read(data)
        else:
            assert len(Video.read(data).frames) == 4
    with within(Limits(seconds=2, memory=10 * 32 * 32 * 3)), pytest.raises(OversizedError):
        Video.read(data)


def test_sound_is_counted_as_it_comes() -> None:
    clip = Video(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), 1.0, Audio(torch.zeros(1, 3 * 48000), 48000))
    data = lying(clip.to_bytes("webm"), 0.5)
    with within(Limits(seconds=2)), pytest.raises(OversizedError, match="seconds are more than the 2"):
        Audio.read(data)


def test_animations_are_chosen_from_and_never_grow_by_their_pauses() -> None:
    pictures = [PILImage.new("RGB", (200, 200), (place, 0, 0)) for place in range(20)]
    durations = [10, 30_000, *[10] * 18]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "PNG", save_all=True, append_images=pictures[1:], duration=durations)
    with within(Limits(memory=100 * 200 * 200 * 3)), pytest.raises(OversizedError, match="bytes of memory"):
        Video.read(buffer.getvalue())
    with within(Limits(memory=100 * 200 * 200 * 3, frames=10)):
        some = Video.read(buffer.getvalue())
    assert some.frames[:, 0, 0, 0].tolist() == [1] * 10, "what is shown nearly all the time"
    assert some.seconds == pytest.approx(sum(durations) / 1000)
    data = films.write_animation(pictures[:8], 8, "apng")
    with within(Limits(frames=4)):
        few = Video.read(data)
    assert torch.equal(few.frames, Video.read(data).sample(4).frames)


def test_many_frames_are_thinned_as_they_come() -> None:
    pictures = [PILImage.new("RGB", (4, 4), (place, 0, 0)) for place in range(100)]
    data = films.write_animation(pictures, 10, "apng")
    with within(Limits(frames=5, memory=11 * 48)):
        some = Video.read(data)
    assert some.frames[:, 0, 0, 0].tolist() == pytest.approx([10, 30, 50, 70, 90], abs=16)
    assert some.seconds == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("read", [Video.read, Audio.read])
def test_nothing_is_opened_for_a_playlist(read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would look for the files of a list, and wait at a port for a session that is described."""
    (tmp_path / "film.mp4").write_bytes(Video(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), 4.0).to_bytes())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/film.mp4\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile {tmp_path}/film.mp4\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    )
    for text in lists:
        with pytest.raises(MediaError):
            read(text.encode())
        with pytest.raises((av.error.FFmpegError, ValueError)):
            codecs.opened(io.BytesIO(text.encode()))


def test_only_pixels_are_opened_as_pictures() -> None:
    """EPS would run a program."""
    with pytest.raises(MediaError, match="cannot identify"):
        Image.read(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone fills fresh memory with a byte of one's choice")
def test_a_clip_is_the_same_file_whatever_its_memory_held_before() -> None:
    script = (
        "import hashlib, torch; from anyx.media import Video\n"
        "small = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))\n"
        "frames = torch.nn.functional.interpolate(small, size=(64, 64), mode='bilinear').mul(255).to(torch.uint8)\n"
        "print(hashlib.sha256(Video(frames, 8.0).to_bytes('mp4')).hexdigest())"
    )
    command = [sys.executable, "-c", script]
    environments = [os.environ | {"MALLOC_PERTURB_": filled} for filled in ("85", "255")]
    one, other = (subprocess.run(command, env=one, capture_output=True, check=True).stdout for one in environments)
    assert len(one) == 65
    assert one == other
