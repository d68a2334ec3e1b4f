"""Stable Diffusion 3: conditions (length, dim) and one pooled vector -> images, by flow matching.

The condition is two CLIP encoders' last but one states side by side, widened with zeros, then T5's states after them,
and both CLIPs' projected vectors. T5 may be missing: its states are zeros then, as in diffusers. Runs without the text
encoders, as `stable_diffusion.py` does.

Letters: b items, c h w latent axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from anyx.interfaces import Condition, Decoder
from anyx.media import Image

from . import flow, folders, methods, pictures, pipelines, residence, spaces
from .conditions import NAME, Field
from .text import TextEncoders
from .towers import Tower, check_towers, encoder_length

POOLED = "pooled_prompt_embeds"
TOWERS = (
    Tower("CLIPTextModelWithProjection"),
    Tower("CLIPTextModelWithProjection", "text_encoder_2", "tokenizer_2"),
    Tower("T5EncoderModel", "text_encoder_3", "tokenizer_3"),
)
LONG = 256  # positions of T5, where nothing says how many


@final
class StableDiffusion3Decoder(Decoder):
    """A flow-matching image decoder with up to three text encoders.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over `vae`, `transformer` and `text`.
    `text`: `{text_encoder: {...}, text_encoder_2: {...}, text_encoder_3: {...}}`; without the third, T5's states are 0.
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for all. `t5_length`: positions of T5's
    states in the condition (default 256). `scheduler`: "flow_euler" or "flow_heun"; default: the pipeline's own.
    `size`, `length` (of CLIP's states), `offload`: as `stable_diffusion` has them.
    """

    text: TextEncoders
    pipeline = pipelines.Pipeline(
        StableDiffusion3Pipeline,
        {NAME: Field(), POOLED: Field(vector=True)},
        {"feature_extractor": None, "image_encoder": None},
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        transformer: Mapping[str, Any] | str | None = None,
        text: Mapping[str, Mapping[str, Any]] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        size: int | Sequence[int] | None = None,
        length: int | None = None,
        t5_length: int | None = None,
        steps: int = 28,
        guidance: float = 7.0,
        dtype: str = "float32",
        load_text: bool = False,
        offload: residence.Offload = "never",
    ) -> None:
        super().__init__()
        self.offload = residence.check_offload(offload)
        source = folders.Source(path, dtype)
        check_towers(text, TOWERS, optional=("text_encoder_3",))
        self.vae = source.vae(vae)
        if self.vae.config.shift_factor is None:
            self.vae.register_to_config(shift_factor=0.0)  # the pipeline adds it
        self.transformer = source.model("transformer", SD3Transformer2DModel, transformer)
        self.scheduler = flow.flow_scheduler(scheduler, source)
        config, known = self.transformer.config, source.null_shapes()
        if NAME in known and t5_length is None:
            positions = known[NAME][1]
        else:
            clip = encoder_length(source, text and text["text_encoder"], tokenizer, length)
            positions = clip + (LONG if t5_length is None else t5_length)
        self.condition = {NAME: (positions, config.joint_attention_dim), POOLED: (1, config.pooled_projection_dim)}
        self.text = TextEncoders(
            source,
            TOWERS,
            three_encoders,
            self.condition,
            configs=text or {},
            tokenizer=tokenizer,
            length=length,
            load=load_text,
        )
        self.size = self.sized(size)
        self.latent_shape = spaces.latent_shape(self.transformer, self.vae, self.size)
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)

    _apply = residence.stay
    parts = methods.parts
    read = methods.read
    null_condition = methods.null_condition
    encode_text = methods.encode_text
    text_parts = methods.text_parts
    release_text = methods.release_text
    loss = methods.loss
    denoising_loss = methods.flow_loss
    latents = methods.latents
    scaling_factor = methods.scaling_factor
    reconstruct = methods.reconstruct
    fit_scaling = methods.fit_scaling
    save = methods.save
    tensor = pictures.tensor

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
        latents: Float[Tensor, "b c h w"] | None = None,
    ) -> list[Image]:
        """Decode b conditions into b images; `latents` are the noise to begin with, drawn where they are not given."""
        asked = pipelines.Asked(generators, steps, guidance, progress, latents)
        return pictures.made(self, condition, asked, size, {})

    def predict(self, noisy: Float[Tensor, "b c h w"], steps: Tensor, condition: Condition) -> Float[Tensor, "b c h w"]:
        """The velocity that the transformer says of noisy latents at timesteps (b,)."""
        vector, states = condition.values[POOLED][:, 0], condition.values[NAME]
        said: Tensor = self.transformer(
            hidden_states=noisy, timestep=steps, encoder_hidden_states=states, pooled_projections=vector
        ).sample
        return said

    def sized(self, size: int | Sequence[int] | None) -> tuple[int, int]:
        """Height and width in pixels, checked; None is the transformer's own."""
        multiple = spaces.latent_scale(self.vae) * self.transformer.config.patch_size
        return spaces.image_size(size, self.transformer, self.vae, multiple=multiple)


def three_encoders(text: TextEncoders, captions: Sequence[str]) -> Condition:
    """CLIP's states, twice as wide and padded with zeros, T5's after them; the projected vectors side by side."""
    first, mask = text.read("encoder", captions, hidden=True)
    second, _ = text.read("encoder_2", captions, hidden=True)
    total, width = text.shapes[NAME]
    states = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    states = pad(states, (0, width - states.shape[-1]))
    long = total - states.shape[1]
    if "encoder_3" in text.held and long:
        third, real = text.read("encoder_3", captions, length=long)
        after, told = third[0], real
    else:
        after, told = states.new_zeros(len(captions), long, width), mask.new_zeros(len(captions), long)
    vector = torch.cat([first.text_embeds, second.text_embeds], dim=-1)[:, None]
    values = {NAME: torch.cat([states, after], dim=1), POOLED: vector}
    return Condition(values, {NAME: torch.cat([mask, told], dim=1), POOLED: mask.new_ones(len(captions), 1)})
