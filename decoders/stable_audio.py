"""Stable Audio: T5's states and a length in seconds -> stereo sound, through diffusers' pipeline.

A transformer over the latents of waveforms (Evans et al. 2024, arXiv 2407.14358) reads the caption's states, zero where
there is none, and two vectors for where the sound begins and ends. It was trained to guide away from zeros in the place
of all of them, which the pipeline does by itself when it is given no negative, so that is the null condition here: its
mask is empty. The text encoder is in memory only while captions are encoded.

Letters: b items, c channels, n samples, t latent frames, l positions, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from diffusers import AutoencoderOobleck, StableAudioDiTModel, StableAudioPipeline, StableAudioProjectionModel
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anyx.interfaces import Condition, Decoder
from anyx.media import Audio

from . import checks, folders, methods, pipelines, residence, threads, velocity, waveforms
from .conditions import NAME, Field
from .teachers import t5, t5_states
from .text import TextEncoders
from .towers import text_length


@final
class StableAudioDecoder(Decoder):
    """A latent-diffusion decoder of waveforms.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations.
    `projection`: of a StableAudioProjectionModel; `text`, `tokenizer`: of a T5 encoder, where the folder has none.
    `length`: positions of the condition, if neither says it. `scheduler`: "cosine" (Stable Audio's own) or "edm".
    `seconds`: length of the sound; default and most is the transformer's `sample_size`, which is always decoded whole.
    `offload`: where the weights are between requests (`residence.py`).
    """

    text: TextEncoders
    pipeline = pipelines.Pipeline(StableAudioPipeline, {NAME: Field(mask="attention_mask", negative=False)})

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        transformer: Mapping[str, Any] | str | None = None,
        projection: Mapping[str, Any] | str | None = None,
        text: Mapping[str, Any] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        seconds: float | None = None,
        length: int = 128,
        steps: int = 50,
        guidance: float = 7.0,
        dtype: str = "float32",
        load_text: bool = False,
        offload: residence.Offload = "never",
    ) -> None:
        super().__init__()
        self.offload = residence.check_offload(offload)
        source = folders.Source(path, dtype)
        with threads.quiet():
            self.vae = source.model("vae", AutoencoderOobleck, vae)
        self.transformer = source.model("transformer", StableAudioDiTModel, transformer)
        self.projection_model = source.model("projection_model", StableAudioProjectionModel, projection)
        self.scheduler = velocity.make_scheduler(scheduler, source)
        dim = self.projection_model.config.text_encoder_dim
        length = text_length(source, text, tokenizer, length)
        self.condition = {NAME: (length, dim)}
        self.text = TextEncoders(
            source,
            [t5(dim, length)],
            t5_states(masked=True),
            self.condition,
            configs={"text_encoder": text},
            tokenizer=tokenizer,
            length=length,
            zeros=True,
            load=load_text,
        )
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)
        self.rate = int(self.vae.config.sampling_rate)
        self.latent_shape = (int(self.transformer.config.in_channels), int(self.transformer.config.sample_size))
        self.samples = self.latent_shape[1] * self.vae.hop_length
        self.seconds = self._check_seconds(self.samples / self.rate if seconds is None else seconds)

    _apply = residence.stay
    read = methods.read
    encode_text = methods.encode_text
    text_parts = methods.text_parts
    release_text = methods.release_text
    save = methods.save

    def models(self) -> dict[str, nn.Module]:
        """The pipeline's components that are models."""
        return {"vae": self.vae, "projection_model": self.projection_model, "transformer": self.transformer}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn; the projection of the condition is the denoiser's."""
        parts = methods.parts(self)
        return parts | {"denoiser": parts["denoiser"] + parts.pop("projection_model")}

    def null_condition(self) -> Condition:
        """Zeros that count for nothing."""
        values, masks = self.text.null_condition()
        return Condition(values, {name: torch.zeros_like(mask) for name, mask in masks.items()})

    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        seconds: float | None = None,
        latents: Float[Tensor, "b c t"] | None = None,
    ) -> list[Audio]:
        """Decode b conditions into b sounds; `latents` are the noise to begin with, drawn where they are not given."""
        sounds = pipelines.run(
            self,
            condition,
            pipelines.Asked(generators, steps, guidance, progress, latents),
            shape=self.latent_shape,
            call={"audio_end_in_s": self.seconds if seconds is None else self._check_seconds(seconds)},
        ).audios
        return [Audio(samples.float().cpu().clamp(-1, 1), self.rate) for samples in sounds]

    def tensor(self, media: Sequence[Audio] | Tensor) -> Float[Tensor, "b c n"]:
        """Waveforms, cut or padded with silence to what the transformer reads; a tensor is taken to be that already."""
        return waveforms.batch(media, self.vae, self.samples)

    def latents(self, media: Any, generator: Generator | None = None) -> Float[Tensor, "b c t"]:
        """Latents: the mean, which may be cached, or a sample with a generator."""
        return waveforms.encode(self.vae, self.tensor(media), generator)

    def scaling_factor(self) -> float:
        """What the autoencoder's latents are multiplied by: its family's have unit deviation by training."""
        return 1.0

    def reconstruct(self, media: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, target, kl) of the autoencoder, waveforms (b, c, n)."""
        return waveforms.reconstruct(self.vae, self.tensor(media))

    def loss(self, condition: Condition, media: Any, *, drop: float = 0.0) -> Float[Tensor, ""]:
        """Denoising loss of media under their conditions, each told its own length."""
        told = None if isinstance(media, Tensor) else torch.tensor([sound.seconds for sound in media])
        return self.denoising_loss(condition, self.latents(media), drop=drop, seconds=told)

    def denoising_loss(
        self,
        condition: Condition,
        latents: Float[Tensor, "b c t"],
        generator: Generator | None = None,
        *,
        drop: float = 0.0,
        seconds: Float[Tensor, b] | None = None,
    ) -> Float[Tensor, ""]:
        """The same from `latents()` made before; `drop` replaces conditions by the null one at that rate."""
        given = methods.dropped(self, condition, drop, generator)
        told = None if seconds is None else seconds.clamp(max=self.samples / self.rate)
        return velocity.velocity_loss(
            lambda noisy, level: self.predict(noisy, level, given, told),
            latents.to(pipelines.like(self)),
            self.scheduler,
            generator=generator,
        )

    def predict(
        self, noisy: Float[Tensor, "b c t"], steps: Tensor, condition: Condition, seconds: Tensor | None = None
    ) -> Float[Tensor, "b c t"]:
        """What the transformer says of noisy latents at noise levels (b,), of sounds so many seconds long."""
        values, mask = condition.values[NAME], condition.masks[NAME]
        told = torch.full((len(noisy),), self.seconds) if seconds is None else seconds
        told = told.to(noisy.device)
        text = self.projection_model(text_hidden_states=values).text_hidden_states * mask[..., None].to(values)
        span = self.projection_model(start_seconds=torch.zeros_like(told), end_seconds=told)
        start, end = span.seconds_start_hidden_states, span.seconds_end_hidden_states
        states = torch.cat([text, start, end], dim=1) * mask.any(1)[:, None, None].to(values)
        said: Tensor = self.transformer(
            noisy,
            steps,
            encoder_hidden_states=states,
            global_hidden_states=torch.cat([start, end], dim=2),
            rotary_embedding=self._positions(noisy),
            return_dict=False,
        )[0]
        return said

    def _positions(self, noisy: Tensor) -> Any:
        width = self.transformer.config.attention_head_dim // 2
        return get_1d_rotary_pos_embed(width, noisy.shape[2] + 1, use_real=True, repeat_interleave_real=False)

    def _check_seconds(self, seconds: float) -> float:
        return checks.amount("seconds", seconds, least=1 / self.rate, most=self.samples / self.rate)
