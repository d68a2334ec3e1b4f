"""Media as lmms-eval hands them over -> ours: pictures of PIL, paths, samples with their rate, spans of clips."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyx.interfaces import Media
from anyx.media import Audio, Image, Video

SOUNDS = (".wav", ".flac", ".mp3", ".ogg", ".m4a", ".aac", ".opus")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tiff")
PLACES = ("path", "url", "video", "image", "audio")


def read(media: Any) -> Media:
    """A medium as lmms-eval has it: a picture of PIL, a path, samples with their rate, a path with a span in seconds.

    A path is a picture or a sound by its suffix, else a clip. Sounds are `{"array": ..., "sampling_rate": ...}` or the
    decoder that `datasets` makes of them.
    """
    if type(media).__name__ == "AudioDecoder":
        media = {key: media[key] for key in ("array", "sampling_rate")}
    if isinstance(media, Mapping) and "array" in media:
        return Audio.read(np.asarray(media["array"]), rate=int(media["sampling_rate"]))
    if isinstance(media, Mapping):
        place = next((media[key] for key in PLACES if key in media), None)
        if place is None:
            raise ValueError(f"a medium says what it is by array, path or url; this one has {', '.join(media)}")
        whole = read(place)
        span = [media.get(key) for key in ("video_start", "video_end")]
        return within(whole, *span) if isinstance(whole, Video) and span != [None, None] else whole
    if not isinstance(media, str | Path):
        return Image.read(media)
    suffix = Path(media).suffix.lower()
    kind: type[Media] = Audio if suffix in SOUNDS else Image if suffix in PICTURES else Video
    return kind.read(media)


def within(video: Video, start: float | None, end: float | None) -> Video:
    """What a clip shows and says from `start` to `end` in seconds, at least a frame."""
    low, high = float(start or 0), video.seconds if end is None else float(end)
    first = min(int(low * video.fps), len(video.frames) - 1)
    frames = video.frames[first : max(round(high * video.fps), first + 1)]
    if video.audio is None:
        return Video(frames, video.fps)
    rate = video.audio.rate
    sound = video.audio.samples[:, int(low * rate) : round(high * rate)]
    return Video(frames, video.fps, Audio(sound, rate) if sound.shape[1] else None)
