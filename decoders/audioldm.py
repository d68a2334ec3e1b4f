"""AudioLDM: one condition vector -> sound, through diffusers' pipeline.

The unet reads CLAP's text vector as a class embedding, L2-normalised in training and at inference alike (published
any-to-any systems forget the second). Published pipelines end in a neural vocoder, small ones that are built from
configurations in Griffin-Lim. Runs without the text encoder.

Letters: b items, d condition width, c channels, n samples, t mel frames, m mel bins, y x their latent axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from diffusers import AudioLDMPipeline, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from anyx.interfaces import Condition, Decoder

from . import diffusion, folders, methods, pipelines, residence, sounds
from .conditions import NAME, Field
from .text import TextEncoders
from .towers import Tower


@final
class AudioLDMDecoder(Decoder):
    """A latent-diffusion decoder of log-mel frames, and a vocoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `vocoder`: keywords of `GriffinLim` (rate, bins, hop, fft, mean, std, iterations), where none is published, or a
    configuration of the published kind (`model_in_dim`, `upsample_rates`, ...).
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from `text`.
    `seconds`: length of the sound (default: the unet's own). `normalise`: L2-normalise conditions; False is what
    published any-to-any systems do. `offload`: where the weights are between requests (`residence.py`).
    """

    text: TextEncoders
    vocoder: Any
    pipeline = pipelines.Pipeline(AudioLDMPipeline, {NAME: Field(vector=True)}, shells=("text_encoder",))

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
        self.vocoder = sounds.vocoder(source, vocoder)
        dim = self.unet.config.projection_class_embeddings_input_dim
        if self.unet.config.class_embed_type != "simple_projection" or dim is None:
            raise ValueError("unet: AudioLDM's has class_embed_type 'simple_projection' and its ..._input_dim")
        self.condition = {NAME: (1, dim)}
        tower = Tower("ClapTextModelWithProjection", widths={"projection_dim": dim}, shifted=True)
        self.text = TextEncoders(
            source,
            [tower],
            clap_vector,
            self.condition,
            configs={tower.folder: text},
            tokenizer=tokenizer,
            load=load_text,
        )
        self.normalise = normalise
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)
        self.objective = diffusion.objective(min_snr, noisy_share, loss_target)
        self.mel = sounds.log_mel(self.vocoder)
        self.rate = self.mel.rate
        self.seconds = sounds.length(self.mel, self.unet, self.vae) if seconds is None else seconds
        self.latent_shape = sounds.shape(self.mel, self.unet, self.vae, self.vocoder, self.seconds)

    _apply = residence.stay
    parts = methods.parts
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

    def read(self, condition: Condition) -> Condition:
        """The condition as the unet reads it: of unit length, unless `normalise` is off."""
        values, masks = methods.read(self, condition)
        return Condition({n: normalize(x, dim=-1) if self.normalise else x for n, x in values.items()}, masks)

    def predict(self, noisy: Float[Tensor, "b c y x"], steps: Tensor, condition: Condition) -> Float[Tensor, "b c y x"]:
        """What the unet says of noisy latents at timesteps (b,)."""
        vector = condition.values[NAME][:, 0]
        said: Tensor = self.unet(noisy, steps, encoder_hidden_states=None, class_labels=vector).sample
        return said


def clap_vector(text: TextEncoders, captions: Sequence[str]) -> Condition:
    """CLAP's projected vector, L2-normalised."""
    output, mask = text.read("encoder", captions, masked=True)
    return Condition({NAME: normalize(output.text_embeds, dim=-1)[:, None]}, {NAME: mask.new_ones(len(captions), 1)})
