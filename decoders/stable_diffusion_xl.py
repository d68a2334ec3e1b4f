"""Stable Diffusion XL: conditions (length, dim) and one pooled vector -> images, through diffusers' pipeline.

The condition is the last but one states of two CLIP text encoders, side by side, and the projected vector of the
second. The pipeline adds the size of the picture by itself. The published null condition is zeros. Runs without the
text encoders, as `stable_diffusion.py` does.

Letters: b items, c h w latent axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Condition, Decoder

from . import diffusion, folders, methods, pictures, pipelines, residence, spaces
from .conditions import NAME, Field
from .text import TextEncoders
from .towers import Tower, check_towers, text_length

POOLED = "pooled_prompt_embeds"
WITHOUT = {"feature_extractor": None, "image_encoder": None, "add_watermarker": False}


@final
class StableDiffusionXLDecoder(Decoder):
    """A latent-diffusion image decoder with two text encoders.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `text`: `{text_encoder: {...}, text_encoder_2: {...}}`, whose hidden sizes add up to the unet's condition.
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for both. `zero_null`: the null condition
    is zeros (default: as the pipeline says, True where there is none). `scheduler`, `size`, `length`, `offload`: as
    `stable_diffusion` has them.
    """

    text: TextEncoders

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        unet: Mapping[str, Any] | str | None = None,
        text: Mapping[str, Mapping[str, Any]] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        size: int | Sequence[int] | None = None,
        length: int | None = None,
        zero_null: bool | None = None,
        steps: int = 20,
        guidance: float = 5.0,
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
        if self.unet.config.addition_embed_type != "text_time":
            raise ValueError("unet: Stable Diffusion XL's has addition_embed_type 'text_time'")
        self.scheduler = diffusion.make_scheduler(scheduler, source)
        dim, config = spaces.condition_dim(self.unet), self.unet.config
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        towers = [
            Tower("CLIPTextModel"),
            Tower("CLIPTextModelWithProjection", "text_encoder_2", "tokenizer_2", {"projection_dim": pooled}),
        ]
        check_towers(text, towers, width=dim)
        positions = text_length(source, text and text["text_encoder"], tokenizer, length)
        self.condition = {NAME: (positions, dim), POOLED: (1, pooled)}
        zeros = bool(source.index.get("force_zeros_for_empty_prompt", True)) if zero_null is None else zero_null
        self.text = TextEncoders(
            source,
            towers,
            two_clips,
            self.condition,
            configs=text or {},
            tokenizer=tokenizer,
            length=length,
            zeros=zeros,
            load=load_text,
        )
        fields = {NAME: Field(), POOLED: Field(vector=True)}
        others = WITHOUT | {"force_zeros_for_empty_prompt": zeros}
        self.pipeline = pipelines.Pipeline(StableDiffusionXLPipeline, fields, others)
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
        """What the unet says of noisy latents at timesteps (b,), of pictures that are whole and of that size."""
        scale = spaces.latent_scale(self.vae)
        height, width = noisy.shape[2] * scale, noisy.shape[3] * scale
        ids = torch.tensor([height, width, 0, 0, height, width], device=noisy.device, dtype=noisy.dtype)
        added = {"text_embeds": condition.values[POOLED][:, 0], "time_ids": ids.expand(len(noisy), -1)}
        states = condition.values[NAME]
        said: Tensor = self.unet(noisy, steps, encoder_hidden_states=states, added_cond_kwargs=added).sample
        return said


def two_clips(text: TextEncoders, captions: Sequence[str]) -> Condition:
    """The last but one states of both, side by side, and the second's projected vector."""
    first, mask = text.read("encoder", captions, hidden=True)
    second, _ = text.read("encoder_2", captions, hidden=True)
    states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    vector = second.text_embeds[:, None]
    return Condition({NAME: states, POOLED: vector}, {NAME: mask, POOLED: mask.new_ones(len(captions), 1)})
