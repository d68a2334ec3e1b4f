"""AudioLDM: one condition vector -> sound, through diffusers' pipeline.

The unet reads CLAP's text vector as a class embedding, L2-normalised in training and at inference alike (published
any-to-any systems forget the second). Published pipelines end in a neural vocoder, small ones that are built from
configurations in Griffin-Lim. Runs without the text encoder.

Letters: b items, d condition width, c channels, t mel frames, m mel bins, y x their latent axes.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from diffusers import AudioLDMPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import normalize, pad
from transformers import SpeechT5HifiGan

from anyx.interfaces import Condition, Decoder
from anyx.media import Audio

from . import diffusion, folders
from .griffin_lim import GriffinLim, LogMel
from .text import NAME, TextEncoder


class Shell(NamedTuple):
    """Stands where the pipeline reads its text encoder's dtype."""

    dtype: torch.dtype


@final
class AudioLDMDecoder(Decoder):
    """A latent-diffusion decoder of log-mel frames, and a vocoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `vocoder`: keywords of `GriffinLim` (rate, bins, hop, fft, mean, std, iterations), where none is published, or a
    configuration of the published kind (`model_in_dim`, `upsample_rates`, ...).
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from `text`.
    `seconds`: length of the sound (default: the unet's own). `normalise`: L2-normalise conditions.
    """

    text: TextEncoder
    vocoder: Any

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        unet: Mapping[str, Any] | str | None = None,
        text: Mapping[str, Any] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        vocoder: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        seconds: float | None = None,
        normalise: bool = True,
        steps: int = 20,
        guidance: float = 2.5,
        min_snr: float | None = None,
        noisy_share: float = 0.0,
        dtype: str = "float32",
        load_text: bool = False,
    ) -> None:
        super().__init__()
        source = folders.Source(path, dtype)
        self.vae = source.vae(vae)
        self.unet = source.model("unet", UNet2DConditionModel, unet)
        self.scheduler = diffusion.make_scheduler(scheduler, source)
        self.vocoder = _vocoder(source, vocoder)
        dim = self.unet.config.projection_class_embeddings_input_dim
        if self.unet.config.class_embed_type != "simple_projection" or dim is None:
            raise ValueError("unet: AudioLDM's has class_embed_type 'simple_projection' and its ..._input_dim")
        self.text = TextEncoder(
            source, config=text, tokenizer=tokenizer, length=None, dim=dim, pooled=True, load=load_text
        )
        self.condition = {NAME: (1, dim)}
        self.normalise, self.steps, self.guidance = normalise, diffusion.check_steps(steps), guidance
        self.min_snr, self.noisy_share = min_snr, noisy_share
        config, scale = self.vocoder.config, diffusion.latent_scale(self.vae)
        self.rate, self.hop = int(config.sampling_rate), math.prod(config.upsample_rates)
        neural = isinstance(self.vocoder, SpeechT5HifiGan)
        mel = LogMel(rate=self.rate, bins=config.model_in_dim, hop=self.hop) if neural else self.vocoder.analysis
        self.mel: LogMel = mel
        height = diffusion.latent_size(self.unet)[0]
        self.seconds = height * scale * self.hop / self.rate if seconds is None else seconds
        rows = math.ceil(round(self.seconds * self.rate / self.hop, 3) / scale)
        self.frames = rows * scale
        self.latent_shape = (self.unet.config.in_channels, rows, config.model_in_dim // scale)

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn."""
        return {
            "vae": list(self.vae.parameters()),
            "denoiser": list(self.unet.parameters()),
            "text": list(self.text.parameters()),
            "vocoder": list(self.vocoder.parameters()),
        }

    def null_condition(self) -> Condition:
        """The condition of the empty caption, batch 1."""
        return self.text.null_condition()

    def encode_text(self, captions: Sequence[str]) -> Condition:
        """The text encoder's normalised vectors for captions."""
        return self.text.condition(captions)

    def text_parts(self) -> tuple[nn.Module, str]:
        """The text encoder, in memory, and its tokenizer written out."""
        return self.text.load(), self.text.words()

    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Audio]:
        """Decode b conditions into b sounds."""
        like = self.unet.conv_in.weight
        with torch.inference_mode():
            embeds = self._read(condition)
            generators = diffusion.check_generators(generators, len(embeds))
            pipeline = self._pipeline(like.dtype)
            waveforms = pipeline(
                prompt_embeds=embeds[:, 0],
                negative_prompt_embeds=self._unit(self.text.null().to(embeds)).expand_as(embeds)[:, 0],
                latents=diffusion.starting_noise(self.latent_shape, generators, like),
                generator=generators,
                num_inference_steps=diffusion.check_steps(self.steps if steps is None else steps),
                guidance_scale=self.guidance if guidance is None else guidance,
                audio_length_in_s=self.seconds,
                output_type="pt",
                callback=diffusion.on_callback(progress, pipeline),
            ).audios
        return [Audio(samples[None].float().clamp(-1, 1), self.rate) for samples in waveforms]

    def loss(self, condition: Condition, media: Sequence[Audio] | Tensor, *, drop: float = 0.0) -> Float[Tensor, ""]:
        """Denoising loss of sounds (or a tensor (b, 1, t, m) of their frames) under their conditions."""
        return self.denoising_loss(condition, self.latents(media), drop=drop)

    def denoising_loss(
        self,
        condition: Condition,
        latents: Float[Tensor, "b c y x"],
        generator: Generator | None = None,
        *,
        drop: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The same from `latents()` made before; `drop` replaces conditions by the null one at that rate."""
        embeds = self._read(condition)
        embeds = diffusion.drop(embeds, self._unit(self.text.null()), drop, generator) if drop else embeds
        return diffusion.denoising_loss(
            lambda noisy, t: self.unet(noisy, t, encoder_hidden_states=None, class_labels=embeds[:, 0]).sample,
            latents.to(self.unet.conv_in.weight),
            self.scheduler,
            generator=generator,
            min_snr=self.min_snr,
            noisy_share=self.noisy_share,
        )

    def log_mel(self, media: Sequence[Audio] | Tensor) -> Float[Tensor, "b 1 t m"]:
        """Frames of sounds, cut or padded with silence to the decoder's length; a tensor is taken to be such frames."""
        if isinstance(media, Tensor):
            return media
        length, device = self.frames * self.hop, self.mel.window.device
        mono = [sound.mono().resample(self.rate).samples[0, :length] for sound in media]
        frames: Tensor = self.mel(torch.stack([pad(row, (0, length - len(row))) for row in mono]).to(device))
        return frames[:, None]

    def latents(self, media: Sequence[Audio] | Tensor, generator: Generator | None = None) -> Float[Tensor, "b c y x"]:
        """Scaled latents: the mean, which may be cached, or a sample with a generator."""
        return diffusion.encode(self.vae, self.log_mel(media), generator)

    def scaling_factor(self) -> float:
        """What the autoencoder's latents are multiplied by."""
        return float(self.vae.config.scaling_factor)

    def reconstruct(self, media: Sequence[Audio] | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, target, kl) of the autoencoder, in frames."""
        return diffusion.reconstruct(self.vae, self.log_mel(media))

    def fit_scaling(self, media: Sequence[Audio] | Tensor) -> float:
        """Set and return the VAE's scaling factor: latents of such media get unit standard deviation."""
        return diffusion.fit_scaling(self.vae, self.latents(media))

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write a pipeline folder that `path` loads (and diffusers, where the vocoder is a neural one)."""
        models = {"vae": self.vae, "unet": self.unet}
        extra: dict[str, Any] = {}
        if isinstance(self.vocoder, SpeechT5HifiGan):
            models["vocoder"] = self.vocoder
        else:
            self.vocoder.save_pretrained(Path(folder, "vocoder"))
            extra["vocoder"] = [GriffinLim.__module__, GriffinLim.__name__]
        return folders.save(Path(folder), "AudioLDMPipeline", models, self.scheduler, self.text, dtype, extra)

    def _read(self, condition: Condition) -> Float[Tensor, "b 1 d"]:
        return self._unit(diffusion.read_condition(condition, self.condition, self.unet.conv_in.weight))

    def _unit(self, vectors: Float[Tensor, "b 1 d"]) -> Float[Tensor, "b 1 d"]:
        return normalize(vectors, dim=-1) if self.normalise else vectors

    def _pipeline(self, dtype: torch.dtype) -> Any:
        with folders.quiet():
            pipeline = AudioLDMPipeline(
                vae=self.vae,
                text_encoder=Shell(dtype),
                tokenizer=None,
                unet=self.unet,
                scheduler=copy.deepcopy(self.scheduler),  # a scheduler counts its steps: one a request
                vocoder=self.vocoder,
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _vocoder(source: folders.Source, given: Mapping[str, Any] | None) -> Any:
    if source.class_of("vocoder") == "SpeechT5HifiGan":
        with folders.quiet():
            if folders.is_meta():
                config = SpeechT5HifiGan.config_class.from_pretrained(source.path, subfolder="vocoder")
                return SpeechT5HifiGan(config).eval()
            return SpeechT5HifiGan.from_pretrained(source.path, subfolder="vocoder", dtype=source.dtype).eval()
    if given is not None and "model_in_dim" in given:
        with folders.quiet():
            return SpeechT5HifiGan(SpeechT5HifiGan.config_class(**given)).to(source.dtype).eval()
    file = source.file("vocoder/config.json")
    return GriffinLim(**{**(json.loads(file.read_text()) if file else {}), **(given or {})})
