"""LTX-Video: T5's states -> clips, through diffusers' pipeline; a transformer over patches of space and time.

The autoencoder keeps the first frame and then makes one latent frame of every eight (HaCohen et al. 2024, arXiv
2501.00103), so clips have 8 k + 1 frames. The transformer reads latents as a sequence and the condition with its mask,
and says the velocity of a flow. The text encoder is in memory only while captions are encoded.

Letters: b items, t frames, s latent positions, c channels, h w pixels, y x latent axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from diffusers import (
    AutoencoderKLLTXVideo,
    FlowMatchEulerDiscreteScheduler,
    LTXPipeline,
    LTXVideoTransformer3DModel,
)
from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anyx.interfaces import Condition, Decoder
from anyx.media import Video

from . import checks, clips, flow, folders, methods, pipelines, residence, spaces
from .conditions import NAME, Field
from .teachers import t5, t5_states
from .text import TextEncoders
from .towers import text_length

LIGHT = {"decode_timestep": 0.05, "decode_noise_scale": 0.025}  # for autoencoders that finish the denoising themselves


@final
class LTXDecoder(Decoder):
    """A latent-flow video decoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `transformer` and
    `text`. `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from
    `text`. `length`: positions of the condition, if neither says it. `size`: height and width in pixels, multiples of
    32; `frames`: one more than a multiple of what the autoencoder joins (8); `fps`: the transformer is told it.
    `offload`: where the weights are between requests (`residence.py`).
    """

    text: TextEncoders
    pipeline = pipelines.Pipeline(LTXPipeline, {NAME: Field(mask="prompt_attention_mask")})

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        transformer: Mapping[str, Any] | str | None = None,
        text: Mapping[str, Any] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        size: int | Sequence[int] = (512, 704),
        frames: int = 161,
        fps: float = 25.0,
        length: int = 128,
        steps: int = 50,
        guidance: float = 3.0,
        dtype: str = "float32",
        load_text: bool = False,
        offload: residence.Offload = "never",
    ) -> None:
        super().__init__()
        self.offload = residence.check_offload(offload)
        source = folders.Source(path, dtype)
        self.vae = source.model("vae", AutoencoderKLLTXVideo, vae)
        self.transformer = source.model("transformer", LTXVideoTransformer3DModel, transformer)
        self.scheduler = flow.flow_scheduler(scheduler, source)
        dim = self.transformer.config.caption_channels
        length = text_length(source, text, tokenizer, length)
        self.condition = {NAME: (length, dim)}
        self.text = TextEncoders(
            source,
            [t5(dim, length)],
            t5_states(masked=False),
            self.condition,
            configs={"text_encoder": text},
            tokenizer=tokenizer,
            length=length,
            masked=(NAME,),
            load=load_text,
        )
        self.fps, self.frames = checks.positive("fps", fps), clips.check_frames(self.vae, frames)
        self.size = self._check_size(size)
        self.latent_shape = self._shape(self.frames, self.size)
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)

    _apply = residence.stay
    parts = methods.parts
    read = methods.read
    null_condition = methods.null_condition
    encode_text = methods.encode_text
    text_parts = methods.text_parts
    release_text = methods.release_text
    loss = methods.loss
    scaling_factor = methods.scaling_factor
    fit_scaling = methods.fit_scaling
    save = methods.save

    def models(self) -> dict[str, nn.Module]:
        """The pipeline's components that are models."""
        return {"vae": self.vae, "transformer": self.transformer}

    def forward(
        self,
        condition: Condition,
        *,
        generators: Sequence[Generator],
        steps: int | None = None,
        guidance: float | None = None,
        progress: Callable[[int, int], None] | None = None,
        size: int | Sequence[int] | None = None,
        frames: int | None = None,
        latents: Float[Tensor, "b s c"] | None = None,
    ) -> list[Video]:
        """Decode b conditions into b clips; `latents` are the noise to begin with, drawn where they are not given."""
        height, width = self.size if size is None else self._check_size(size)
        frames = self.frames if frames is None else clips.check_frames(self.vae, frames)
        made = pipelines.run(
            self,
            condition,
            pipelines.Asked(generators, steps, guidance, progress, latents),
            shape=self._shape(frames, (height, width)),
            call={"height": height, "width": width, "num_frames": frames, "frame_rate": self.fps, "output_type": "pt"}
            | (LIGHT if self.vae.config.timestep_conditioning else {}),
        ).frames
        return [Video(clip, self.fps) for clip in spaces.pixels(made)]

    def tensor(self, media: Sequence[Video] | Tensor) -> Float[Tensor, "b t 3 h w"]:
        """Clips as the autoencoder reads them, in [-1, 1]; a tensor is taken to be that already."""
        return spaces.clip_batch(media, self.frames, self.size)

    def latents(self, media: Any, generator: Generator | None = None) -> Float[Tensor, "b s c"]:
        """Latents of unit deviation, as a sequence: the mean, which may be cached, or a sample with a generator."""
        return clips.encode(self.vae, self.tensor(media), generator)

    def reconstruct(self, media: Any) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, target, kl) of the autoencoder, frame after frame (b * t, 3, h, w)."""
        return clips.reconstruct(self.vae, self.tensor(media))

    def denoising_loss(
        self,
        condition: Condition,
        latents: Float[Tensor, "b s c"],
        generator: Generator | None = None,
        *,
        drop: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The loss from `latents()` made before; `drop` replaces conditions by the null one at that rate."""
        levels = self._levels(latents.shape[1])
        return methods.flow_loss(self, condition, latents, generator, drop=drop, scheduler=levels)

    def predict(self, noisy: Float[Tensor, "b s c"], steps: Tensor, condition: Condition) -> Float[Tensor, "b s c"]:
        """What the transformer says of noisy latents at timesteps (b,), of clips of the decoder's own size."""
        if noisy.shape[1:] != self.latent_shape:
            told = f"clips of {self.frames} frames of {self.size} pixels have {('b', *self.latent_shape)}"
            raise ValueError(f"latents: {tuple(noisy.shape)} given; {told}")
        frames, height, width = clips.grid(self.vae, self.frames, self.size)
        space, time = self.vae.spatial_compression_ratio, self.vae.temporal_compression_ratio
        said: Tensor = self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=condition.values[NAME],
            encoder_attention_mask=condition.masks[NAME],
            timestep=steps,
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(time / self.fps, space, space),
            return_dict=False,
        )[0]
        return said

    def _levels(self, positions: int) -> Any:
        """The scheduler with the shift that decoding so many positions uses, where that moves with their number."""
        config = self.scheduler.config
        if not config.get("use_dynamic_shifting"):
            return self.scheduler
        ends = config.base_image_seq_len, config.max_image_seq_len, config.base_shift, config.max_shift
        exponent = calculate_shift(positions, *ends)
        shift = exponent if config.time_shift_type == "linear" else math.exp(exponent)
        return FlowMatchEulerDiscreteScheduler.from_config(config, use_dynamic_shifting=False, shift=shift)

    def _shape(self, frames: int, size: tuple[int, int]) -> tuple[int, ...]:
        t, y, x = clips.grid(self.vae, frames, size)
        return (t * y * x, int(self.transformer.config.in_channels))

    def _check_size(self, size: int | Sequence[int]) -> tuple[int, int]:
        return spaces.image_size(size, self.transformer, self.vae, multiple=max(32, self.vae.spatial_compression_ratio))
