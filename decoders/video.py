"""Video: conditions (length, dim) -> clips, through one of two pipelines of diffusers.

A Stable Diffusion folder with a `motion_adapter` is AnimateDiff: its conditions are Stable Diffusion's, so image and
video may share one output projector. A folder whose unet is three-dimensional is text-to-video (ZeroScope). Both run
without the text encoder.

Letters: b items, t frames, c y x latent axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from diffusers import AnimateDiffPipeline, TextToVideoSDPipeline, UNetMotionModel
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anyx.interfaces import Condition, Decoder
from anyx.media import Video

from . import checks, diffusion, folders, methods, motion, pipelines, residence, spaces
from .conditions import NAME, Field
from .teachers import clip, clip_states
from .text import TextEncoders
from .towers import text_length

FIELDS = {NAME: Field()}
MOVING = pipelines.Pipeline(
    AnimateDiffPipeline, FIELDS, dict.fromkeys(("motion_adapter", "feature_extractor", "image_encoder"))
)
SOLID = pipelines.Pipeline(TextToVideoSDPipeline, FIELDS)


@final
class VideoDecoder(Decoder):
    """A latent-diffusion video decoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `motion_adapter`: a path, or a configuration (widths default to the unet's), whose modules then start as identities:
    every frame is an image of the image pipeline. Without one, and without motion in the folder, the unet is 3D.
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from `text`.
    `size`: height and width in pixels; `frames` and `fps` of the clips; `length`: positions, if nothing else says it.
    `offload`: where the weights are between requests, `never` or `model` (`residence.py`).
    """

    text: TextEncoders

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: motion.Spec = None,
        unet: motion.Spec = None,
        motion_adapter: motion.Spec = None,
        text: Mapping[str, Any] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: motion.Spec = None,
        size: int | Sequence[int] | None = None,
        frames: int = 16,
        fps: float = 8.0,
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
        frames = checks.count("frames", frames)
        source = folders.Source(path, dtype)
        self.vae = source.vae(vae)
        self.unet = motion.video_unet(source, unet, motion_adapter, frames)
        self.scheduler = diffusion.make_scheduler(scheduler, source)
        self.moving = isinstance(self.unet, UNetMotionModel)
        self.pipeline = MOVING if self.moving else SOLID
        if not self.moving and type(self.scheduler).__name__ in diffusion.STOCHASTIC:
            raise ValueError(f"scheduler: {type(self.scheduler).__name__} adds noise, which text-to-video cannot seed")
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
        self.size, self.frames = spaces.image_size(size, self.unet, self.vae), frames
        self.fps = checks.positive("fps", fps)
        self.latent_shape = spaces.latent_shape(self.unet, self.vae, self.size, frames)
        self.steps, self.guidance = pipelines.check_defaults(steps, guidance)
        self.objective = diffusion.objective(min_snr, noisy_share, loss_target)

    _apply = residence.stay
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

    def models(self) -> dict[str, nn.Module]:
        """The pipeline's components that are models."""
        return {"vae": self.vae, "unet": self.unet}

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn; `motion` is what a motion adapter adds to an image denoiser."""
        return methods.parts(self) | (motion.parts(self.unet) if self.moving else {})

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
        latents: Float[Tensor, "b c t y x"] | None = None,
    ) -> list[Video]:
        """Decode b conditions into b clips; `latents` are the noise to begin with, drawn where they are not given."""
        height, width = self.size if size is None else spaces.image_size(size, self.unet, self.vae)
        frames = motion.check_frames(self.frames if frames is None else frames, self.unet)
        clips = pipelines.run(
            self,
            condition,
            pipelines.Asked(generators, steps, guidance, progress, latents),
            shape=spaces.latent_shape(self.unet, self.vae, (height, width), frames),
            call={"height": height, "width": width, "num_frames": frames, "output_type": "pt"},
        ).frames
        return [Video(clip, self.fps) for clip in spaces.pixels(clips)]

    def tensor(self, media: Sequence[Video] | Tensor) -> Float[Tensor, "b t 3 h w"]:
        """Clips as the autoencoder reads them, in [-1, 1]; a tensor is taken to be that already."""
        return spaces.clip_batch(media, self.frames, self.size)

    def predict(
        self, noisy: Float[Tensor, "b c t y x"], steps: Tensor, condition: Condition
    ) -> Float[Tensor, "b c t y x"]:
        """What the unet says of noisy latents at timesteps (b,)."""
        states = condition.values[NAME]
        if self.moving:  # the 3D unet repeats them itself
            states = states.repeat_interleave(noisy.shape[2], dim=0)
        said: Tensor = self.unet(noisy, steps, encoder_hidden_states=states).sample
        return said

    def save_motion(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write the motion modules alone, for `motion_adapter=` over an image pipeline that somebody has already."""
        if not self.moving:
            raise ValueError("motion: a text-to-video unet has no motion modules of its own")
        return motion.save(self.unet, Path(folder), dtype)
