"""The sound side of decoders whose autoencoder reads log-mel frames: vocoders, frames, lengths.

Letters: b items, n samples, t mel frames, m mel bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from transformers import SpeechT5HifiGan

from anyx.media import Audio

from .folders import Source
from .griffin_lim import GriffinLim, LogMel


def vocoder(source: Source, given: Mapping[str, Any] | None) -> Any:
    """The folder's neural vocoder, or one of a configuration, or Griffin-Lim by the settings there and those given."""
    if source.class_of("vocoder") == "SpeechT5HifiGan":
        return source.text_model("vocoder", SpeechT5HifiGan)
    if given is not None and "model_in_dim" in given:
        return SpeechT5HifiGan(SpeechT5HifiGan.config_class(**given)).to(source.dtype).eval()
    return GriffinLim(**{**source.config("vocoder"), **(given or {})})


def log_mel(vocoder: Any) -> LogMel:
    """The analysis whose frames a vocoder reads."""
    if isinstance(vocoder, GriffinLim):
        return vocoder.analysis
    config = vocoder.config
    return LogMel(rate=int(config.sampling_rate), bins=config.model_in_dim, hop=math.prod(config.upsample_rates))


def rows(seconds: float, mel: LogMel, scale: int) -> int:
    """How many latent rows so many seconds take."""
    if not math.isfinite(seconds):
        raise ValueError(f"seconds: {seconds!r} given; a sound ends")
    found = math.ceil(round(seconds * mel.rate / mel.hop, 3) / scale)
    if found < 1:
        raise ValueError(f"seconds: {seconds!r} given; a sound is longer than nothing")
    return found


def frames(media: Sequence[Audio] | Tensor, mel: LogMel, count: int) -> Float[Tensor, "b 1 t m"]:
    """So many frames of each sound, cut or padded with silence; a tensor is taken to be such frames."""
    if isinstance(media, Tensor):
        return media
    length, device = count * mel.hop, mel.window.device
    mono = [sound.mono().resample(mel.rate).samples[0, :length] for sound in media]
    made: Tensor = mel(torch.stack([pad(row, (0, length - len(row))) for row in mono]).to(device))
    return made[:, None]
