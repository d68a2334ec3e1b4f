"""AudioLDM2: T5's states and a language model's vectors -> sound, through diffusers' pipeline.

The unet reads two sequences: `prompt_embeds`, T5's states of the caption, with their mask, and
`generated_prompt_embeds`, eight vectors that a GPT-2 says of what CLAP and T5 make of it (Liu et al. 2023, arXiv
2308.05734). Both are the condition, so neither encoder nor language model is in memory at run time; as teachers they
are in `spoken.py`.

Letters: b items, c channels, n samples, t mel frames, m mel bins, y x their latent axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from diffusers import AudioLDM2Pipeline, AudioLDM2UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn

from anyx.interfaces import Condition, Decoder

from . import diffusion, folders, methods, pipelines, residence, sounds, spoken
from .conditions import NAME, Field
from .spoken import GENERATED
from .text import TextEncoders


@final
class AudioLDM2Decoder(Decoder):
    """A latent-diffusion decoder of log-mel frames that reads two sequences, and a vocoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae` and `unet`. Captions
    can be encoded where the folder has the text encoders, projection and language model. `length`: positions of T5's
    states, if no null condition in the folder says it; `vectors`: how many the language model says.
    `vocoder`: keywords of `GriffinLim`, where none is published. `seconds`: length of the sound (default: the unet's
    own). `offload`: where the weights are between requests (`residence.py`).
    """

    text: TextEncoders
    vocoder: Any
    pipeline = pipelines.Pipeline(
        AudioLDM2Pipeline,
        {NAME: Field(mask="attention_mask"), GENERATED: Field()},
        dict.fromkeys(("projection_model", "language_model", "feature_extractor")),
        shells=("text_encoder_2", "language_model"),
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Mapping[str, Any] | str | None = None,
        unet: Mapping[str, Any] | str | None = None,
        vocoder: Mapping[str, Any] | None = None,
        scheduler: Mapping[str, Any] | str | None = None,
        seconds: float | None = None,
        length: int = 128,
        vectors: int = 8,
        steps: int = 20,
        guidance: float = 3.5,
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
        self.unet = source.model("unet", AudioLDM2UNet2DConditionModel, unet)
        self.scheduler = diffusion.make_scheduler(scheduler, source)
        self.vocoder = sounds.vocoder(source, vocoder)
        generated, states = _widths(self.unet)
        length, vectors = (source.null_shapes().get(n, (1, d))[1] for n, d in ((NAME, length), (GENERATED, vectors)))
        self.condition = {NAME: (length, states), GENERATED: (vectors, generated)}
        self.text = TextEncoders(
            source, spoken.towers(length), spoken.encode, self.condition, configs={}, masked=(NAME,), load=load_text
        )
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)
        self.objective = diffusion.objective(min_snr, noisy_share, loss_target)
        self.mel = sounds.log_mel(self.vocoder)
        self.rate = self.mel.rate
        self.seconds = sounds.length(self.mel, self.unet, self.vae) if seconds is None else seconds
        self.latent_shape = sounds.shape(self.mel, self.unet, self.vae, self.vocoder, self.seconds)

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
    forward = sounds.forward
    tensor = sounds.tensor

    def models(self) -> dict[str, nn.Module]:
        """The pipeline's components that are models."""
        return {"vae": self.vae, "unet": self.unet, "vocoder": self.vocoder}

    def predict(self, noisy: Float[Tensor, "b c y x"], steps: Tensor, condition: Condition) -> Float[Tensor, "b c y x"]:
        """What the unet says of noisy latents at timesteps (b,)."""
        values, masks = condition
        said: Tensor = self.unet(
            noisy,
            steps,
            encoder_hidden_states=values[GENERATED],
            encoder_hidden_states_1=values[NAME],
            encoder_attention_mask_1=masks[NAME],
        ).sample
        return said


def _widths(unet: Any) -> tuple[int, int]:
    """What the unet's cross-attentions read: of a block's four places two are the language model's, two T5's."""
    blocks = unet.config.cross_attention_dim
    for places in blocks if isinstance(blocks, Sequence) else ():
        places = places if isinstance(places, Sequence) else (places,)
        generated, states = ([width for width in half if width is not None] for half in (places[:2], places[2:]))
        if generated and states:
            return generated[0], states[0]
    raise ValueError(
        f"unet: cross_attention_dim is {blocks}; AudioLDM2's has places for two sequences, [None, 768, 1024]"
    )
