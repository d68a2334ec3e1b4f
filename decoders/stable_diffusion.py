"""Stable Diffusion: conditions (length, dim) -> images, through diffusers' pipeline.

Runs without the text encoder: `path` may be any published pipeline of the family, or the components may be given as
configurations, which builds a small random one to train. The text encoder is the teacher of the decoding stage and is
loaded when captions are encoded.

Letters: b items, l condition length, d condition width, c h w latent axes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anyx.interfaces import Condition, Decoder
from anyx.media import Image

from . import diffusion, folders
from .text import NAME, TextEncoder


@final
class StableDiffusionDecoder(Decoder):
    """A latent-diffusion image decoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from `text`.
    `scheduler`: a name ("dpmsolver++"), or `{type: name, ...}`; default: the pipeline's own.
    `size`: height and width in pixels (default: the unet's own). `length`: positions, where there is no text encoder.
    """

    text: TextEncoder

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        unet: Mapping[str, Any] | str | None = None,
        text: Mapping[str, Any] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        size: int | Sequence[int] | None = None,
        length: int | None = None,
        steps: int = 20,
        guidance: float = 7.5,
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
        dim = diffusion.condition_dim(self.unet)
        self.text = TextEncoder(source, config=text, tokenizer=tokenizer, length=length, dim=dim, load=load_text)
        self.condition = {NAME: (self.text.length, dim)}
        scale = diffusion.latent_scale(self.vae)
        self.size = diffusion.image_size(size, self.unet, self.vae)
        self.latent_shape = (self.unet.config.in_channels, self.size[0] // scale, self.size[1] // scale)
        self.steps, self.guidance = diffusion.check_steps(steps), guidance
        self.min_snr, self.noisy_share = min_snr, noisy_share

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn."""
        return {
            "vae": list(self.vae.parameters()),
            "denoiser": list(self.unet.parameters()),
            "text": list(self.text.parameters()),
        }

    def null_condition(self) -> Condition:
        """The condition of the empty caption, batch 1."""
        return self.text.null_condition()

    def encode_text(self, captions: Sequence[str]) -> Condition:
        """The text encoder's states for captions; masks of real positions."""
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
    ) -> list[Image]:
        """Decode b conditions into b images."""
        like = self.unet.conv_in.weight
        embeds = diffusion.read_condition(condition, self.condition, like)
        generators = diffusion.check_generators(generators, len(embeds))
        with torch.inference_mode():
            images = self._pipeline()(
                prompt_embeds=embeds,
                negative_prompt_embeds=self.text.null().to(embeds).expand_as(embeds),
                latents=diffusion.starting_noise(self.latent_shape, generators, like),
                generator=generators,
                num_inference_steps=diffusion.check_steps(self.steps if steps is None else steps),
                guidance_scale=self.guidance if guidance is None else guidance,
                height=self.size[0],
                width=self.size[1],
                output_type="pt",
                callback_on_step_end=diffusion.on_step_end(progress),
            ).images
        return [Image(image) for image in diffusion.pixels(images)]

    def loss(self, condition: Condition, media: Sequence[Image] | Tensor, *, drop: float = 0.0) -> Float[Tensor, ""]:
        """Denoising loss of images (or a tensor (b, 3, h, w) in [-1, 1]) under their conditions."""
        return self.denoising_loss(condition, self.latents(media), drop=drop)

    def denoising_loss(
        self,
        condition: Condition,
        latents: Float[Tensor, "b c h w"],
        generator: Generator | None = None,
        *,
        drop: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The same from `latents()` made before; `drop` replaces conditions by the null one at that rate."""
        like = self.unet.conv_in.weight
        embeds = diffusion.read_condition(condition, self.condition, like)
        embeds = diffusion.drop(embeds, self.text.null(), drop, generator) if drop else embeds
        return diffusion.denoising_loss(
            lambda noisy, t: self.unet(noisy, t, encoder_hidden_states=embeds).sample,
            latents.to(like),
            self.scheduler,
            generator=generator,
            min_snr=self.min_snr,
            noisy_share=self.noisy_share,
        )

    def latents(self, media: Sequence[Image] | Tensor, generator: Generator | None = None) -> Float[Tensor, "b c h w"]:
        """Scaled latents: the mean, which may be cached, or a sample with a generator."""
        return diffusion.encode(self.vae, diffusion.image_batch(media, self.size), generator)

    def scaling_factor(self) -> float:
        """What the autoencoder's latents are multiplied by."""
        return float(self.vae.config.scaling_factor)

    def reconstruct(self, media: Sequence[Image] | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, target, kl) of the autoencoder."""
        return diffusion.reconstruct(self.vae, diffusion.image_batch(media, self.size))

    def fit_scaling(self, media: Sequence[Image] | Tensor) -> float:
        """Set and return the VAE's scaling factor: latents of such media get unit standard deviation."""
        return diffusion.fit_scaling(self.vae, self.latents(media))

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write a pipeline folder that `path` and diffusers load."""
        absent = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
        models = {"vae": self.vae, "unet": self.unet}
        extra = absent | {"requires_safety_checker": False}
        return folders.save(Path(folder), "StableDiffusionPipeline", models, self.scheduler, self.text, dtype, extra)

    def _pipeline(self) -> Any:
        with folders.quiet():
            pipeline = StableDiffusionPipeline(
                vae=self.vae,
                text_encoder=None,
                tokenizer=None,
                unet=self.unet,
                scheduler=copy.deepcopy(self.scheduler),  # a scheduler counts its steps: one a request
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline
