"""Stable Diffusion 1.x and 2.x: conditions (length, dim) -> images, through diffusers' pipeline.

Runs without the text encoder: `path` may be any published pipeline of the family, or the components may be given as
configurations, which builds a small random one to train. The text encoder is the teacher of the decoding stage and is
loaded when captions are encoded. Whether the unet says noise or velocity is the scheduler's `prediction_type`.

Letters: b items, c h w latent axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Condition, Decoder

from . import diffusion, folders, methods, pictures, pipelines, residence, spaces
from .conditions import NAME, Field
from .teachers import clip, clip_states
from .text import TextEncoders
from .towers import text_length

WITHOUT = {"safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False}


@final
class StableDiffusionDecoder(Decoder):
    """A latent-diffusion image decoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from `text`.
    `scheduler`: a name ("dpmsolver++"), or `{type: name, ...}`; default: DPM-Solver++, or the pipeline's own
    where that is as fast; `own` is always the pipeline's.
    `size`: height and width in pixels (default: the unet's own). `length`: positions, where there is no text encoder.
    `min_snr`, `noisy_share`, `loss_target`: how its loss counts (`diffusion.objective`).
    `offload`: where the weights are between requests, `never` or `model` (`residence.py`).
    """

    text: TextEncoders
    pipeline = pipelines.Pipeline(StableDiffusionPipeline, {NAME: Field()}, WITHOUT)

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
        min_snr: diffusion.MinSNR = None,
        noisy_share: float = 0.0,
        loss_target: diffusion.LossTarget = "own",
        dtype: str = "float32",
        load_text: bool = False,
        offload: residence.Offload = "never",
    ) -> None:
        super().__init__()
        self.offload = residence.check_offload(offload)
        source = folders.Source(path, dtype)
        self.vae = source.vae(vae)
        self.unet = source.model("unet", UNet2DConditionModel, unet)
        self.scheduler = diffusion.make_scheduler(scheduler, source)
        dim = spaces.condition_dim(self.unet)
        self.condition = {NAME: (text_length(source, text, tokenizer, length), dim)}
        self.text = TextEncoders(
            source,
            [clip(dim)],
            clip_states,
            self.condition,
            configs={"text_encoder": text},
            tokenizer=tokenizer,
            length=length,
            load=load_text,
        )
        self.size = self.sized(size)
        self.latent_shape = spaces.latent_shape(self.unet, self.vae, self.size)
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)
        self.objective = diffusion.objective(min_snr, noisy_share, loss_target)

    _apply = residence.stay
    parts = methods.parts
    read = methods.read
    null_condition = methods.null_condition
    encode_text = methods.encode_text
    text_parts = methods.text_parts
    release_text = methods.release_text
    loss = methods.loss
    denoising_loss = methods.denoising_loss
    latents = methods.latents
    scaling_factor = methods.scaling_factor
    reconstruct = methods.reconstruct
    fit_scaling = methods.fit_scaling
    save = methods.save
    forward = pictures.forward
    tensor = pictures.tensor

    def models(self) -> dict[str, nn.Module]:
        """The pipeline's components that are models."""
        return {"vae": self.vae, "unet": self.unet}

    def sized(self, size: int | Sequence[int] | None) -> tuple[int, int]:
        """Height and width in pixels, checked; None is the unet's own."""
        return spaces.image_size(size, self.unet, self.vae)

    def predict(self, noisy: Float[Tensor, "b c h w"], steps: Tensor, condition: Condition) -> Float[Tensor, "b c h w"]:
        """What the unet says of noisy latents at timesteps (b,)."""
        said: Tensor = self.unet(noisy, steps, encoder_hidden_states=condition.values[NAME]).sample
        return said
