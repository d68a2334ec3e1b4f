"""Sounds in the formats that OpenAI's speech route names."""

from __future__ import annotations

import io
from typing import NamedTuple

from anyx.media import Audio


class Format(NamedTuple):
    """What a file of a format is called, how libsndfile names it, and the rate in Hz it wants (None: any)."""

    type: str
    container: str
    subtype: str
    rate: int | None = None


FORMATS = {
    "wav": Format("audio/wav", "WAV", "PCM_16"),
    "flac": Format("audio/flac", "FLAC", "PCM_16"),
    "opus": Format("audio/ogg", "OGG", "OPUS", 48000),
    "mp3": Format("audio/mpeg", "MP3", "MPEG_LAYER_III", 24000),
    "pcm": Format("audio/pcm", "RAW", "PCM_16", 24000),  # mono, as OpenAI says it: 24 kHz, 16 bit, little end first
}


def encoded(sound: Audio, format: str) -> bytes:
    """A sound as a file of one of `FORMATS`."""
    import soundfile

    how, file = FORMATS[format], io.BytesIO()
    sound = sound if how.rate is None else sound.resample(how.rate)
    samples = (sound.mono() if how.container == "RAW" else sound).samples.clamp(-1, 1).T.numpy()
    endian = "LITTLE" if how.container == "RAW" else "FILE"
    soundfile.write(file, samples, sound.rate, format=how.container, subtype=how.subtype, endian=endian)
    return file.getvalue()
