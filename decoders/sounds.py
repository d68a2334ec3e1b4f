"""The sound side of decoders whose autoencoder reads log-mel frames: vocoders, frames, lengths, as functions.

Letters: b items, n samples, t mel frames, m mel bins, c channels, y x latent axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import pad
from transformers import SpeechT5HifiGan

from anyx.interfaces import Condition
from anyx.media import Audio

from . import checks, pipelines, spaces
from .folders import Source
from .griffin_lim import GriffinLim, LogMel


@runtime_checkable
class Sounds(pipelines.Runs, Protocol):
    """What these functions read of a decoder."""

    vae: Any
    unet: Any
    vocoder: Any
    mel: LogMel
    rate: int
    seconds: float
    latent_shape: tuple[int, ...]


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


def length(mel: LogMel, unet: Any, vae: Any) -> float:
    """The seconds that the unet's own size stands for."""
    return spaces.latent_size(unet)[0] * spaces.latent_scale(vae) * mel.hop / mel.rate


def shape(mel: LogMel, unet: Any, vae: Any, vocoder: Any, seconds: float) -> tuple[int, ...]:
    """The latents of one sound so long: channels, rows of time, columns of pitch."""
    scale = spaces.latent_scale(vae)
    window = len(mel.window) // 2 + 1 if isinstance(vocoder, GriffinLim) else 1  # samples that it cannot do without
    return (int(unet.config.in_channels), rows(seconds, mel, scale, window), mel.bins // scale)


def forward(
    decoder: Sounds,
    condition: Condition,
    *,
    generators: Sequence[Generator],
    steps: int | None = None,
    guidance: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    seconds: float | None = None,
    latents: Float[Tensor, "b c y x"] | None = None,
) -> list[Audio]:
    """Decode b conditions into b sounds; `latents` are the noise to begin with, drawn where they are not given."""
    seconds = decoder.seconds if seconds is None else seconds
    waveforms = pipelines.run(
        decoder,
        condition,
        pipelines.Asked(generators, steps, guidance, progress, latents),
        shape=shape(decoder.mel, decoder.unet, decoder.vae, decoder.vocoder, seconds),
        call={"audio_length_in_s": seconds, "output_type": "pt"},
    ).audios
    return [Audio(samples[None].float().clamp(-1, 1), decoder.rate) for samples in waveforms]


def tensor(decoder: Sounds, media: Sequence[Audio] | Tensor) -> Float[Tensor, "b 1 t m"]:
    """Log-mel frames, cut or padded with silence to the decoder's length; a tensor is taken to be that already."""
    return frames(media, decoder.mel, decoder.latent_shape[1] * spaces.latent_scale(decoder.vae))


def rows(seconds: float, mel: LogMel, scale: int, samples: int = 1) -> int:
    """How many latent rows so many seconds take: one at least, and as many as so many samples need."""
    row = mel.hop * scale
    found = checks.amount("seconds", seconds, least=math.ceil(samples / row) * row / mel.rate)
    return math.ceil(round(found * mel.rate / mel.hop, 3) / scale)


def frames(media: Sequence[Audio] | Tensor, mel: LogMel, count: int) -> Float[Tensor, "b 1 t m"]:
    """So many frames of each sound, cut or padded with silence; a tensor is taken to be such frames."""
    if isinstance(media, Tensor):
        return media
    length, device = count * mel.hop, mel.window.device
    mono = [sound.mono().resample(mel.rate).samples[0, :length] for sound in media]
    made: Tensor = mel(torch.stack([pad(row, (0, length - len(row))) for row in mono]).to(device))
    return made[:, None]
