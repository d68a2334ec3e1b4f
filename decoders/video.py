"""Video: conditions (length, dim) -> clips, through one of two pipelines of diffusers.

A Stable Diffusion folder with a `motion_adapter` is AnimateDiff: its conditions are Stable Diffusion's, so image and
video may share one output projector. A folder whose unet is three-dimensional is text-to-video (ZeroScope). Both run
without the text encoder.

Letters: b items, t frames, l condition length, d condition width, c y x latent axes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from diffusers import (
    AnimateDiffPipeline,
    MotionAdapter,
    TextToVideoSDPipeline,
    UNet2DConditionModel,
    UNet3DConditionModel,
    UNetMotionModel,
)
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import interpolate

from anyx.interfaces import Condition, Decoder
from anyx.media import Video

from . import diffusion, folders
from .text import NAME, TextEncoder

Spec = Mapping[str, Any] | str | None


@final
class VideoDecoder(Decoder):
    """A latent-diffusion video decoder.

    `path`: a diffusers pipeline folder or Hub id; what it holds wins over the configurations `vae`, `unet` and `text`.
    `motion_adapter`: a path, or a configuration (widths default to the unet's), whose modules then start as identities:
    every frame is an image of the image pipeline. Without one, and without motion in the folder, the unet is 3D.
    `tokenizer`: `{words: [...]}` or `{path: tokenizer.json}` with `length`, for a text encoder built from `text`.
    `size`: height and width in pixels; `frames` and `fps` of the clips; `length`: positions, if nothing else says it.
    """

    text: TextEncoder

    def __init__(
        self,
        *,
        path: str | None = None,
        vae: Spec = None,
        unet: Spec = None,
        motion_adapter: Spec = None,
        text: Mapping[str, Any] | None = None,
        tokenizer: Mapping[str, Any] | None = None,
        scheduler: Spec = None,
        size: int | Sequence[int] | None = None,
        frames: int = 16,
        fps: float = 8.0,
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
        self.unet = _unet(source, unet, motion_adapter, frames)
        self.scheduler = diffusion.make_scheduler(scheduler, source)
        self.moving = isinstance(self.unet, UNetMotionModel)
        if not self.moving and type(self.scheduler).__name__ in diffusion.STOCHASTIC:
            raise ValueError(f"scheduler: {type(self.scheduler).__name__} adds noise, which text-to-video cannot seed")
        dim = diffusion.condition_dim(self.unet)
        self.text = TextEncoder(source, config=text, tokenizer=tokenizer, length=length, dim=dim, load=load_text)
        self.condition = {NAME: (self.text.length, dim)}
        self.size = diffusion.image_size(size, self.unet, self.vae)
        scale = diffusion.latent_scale(self.vae)
        self.latent_shape = (self.unet.config.in_channels, frames, self.size[0] // scale, self.size[1] // scale)
        self.frames, self.fps = frames, fps
        self.steps, self.guidance = diffusion.check_steps(steps), guidance
        self.min_snr, self.noisy_share = min_snr, noisy_share

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """What may learn; `motion` is what a motion adapter adds to an image denoiser."""
        named = list(self.unet.named_parameters())
        parts = {
            "vae": list(self.vae.parameters()),
            "denoiser": [p for name, p in named if "motion_modules" not in name],
            "text": list(self.text.parameters()),
        }
        return parts | {"motion": [p for name, p in named if "motion_modules" in name]} if self.moving else parts

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
    ) -> list[Video]:
        """Decode b conditions into b clips."""
        like = self.unet.conv_in.weight
        with torch.inference_mode():
            embeds = diffusion.read_condition(condition, self.condition, like)
            generators = diffusion.check_generators(generators, len(embeds))
            pipeline = self._pipeline()
            call = {"callback_on_step_end": diffusion.on_step_end(progress)}
            clips = pipeline(
                prompt_embeds=embeds,
                negative_prompt_embeds=self.text.null().to(embeds).expand_as(embeds),
                latents=diffusion.starting_noise(self.latent_shape, generators, like),
                generator=generators,
                num_inference_steps=diffusion.check_steps(self.steps if steps is None else steps),
                guidance_scale=self.guidance if guidance is None else guidance,
                height=self.size[0],
                width=self.size[1],
                num_frames=self.frames,
                output_type="pt",
                **(call if self.moving else {"callback": diffusion.on_callback(progress, pipeline)}),
            ).frames
        return [Video(clip, self.fps) for clip in diffusion.pixels(clips)]

    def loss(self, condition: Condition, media: Sequence[Video] | Tensor, *, drop: float = 0.0) -> Float[Tensor, ""]:
        """Denoising loss of clips (or a tensor (b, t, 3, h, w) in [-1, 1]) under their conditions."""
        return self.denoising_loss(condition, self.latents(media), drop=drop)

    def denoising_loss(
        self,
        condition: Condition,
        latents: Float[Tensor, "b c t y x"],
        generator: Generator | None = None,
        *,
        drop: float = 0.0,
    ) -> Float[Tensor, ""]:
        """The same from `latents()` made before; `drop` replaces conditions by the null one at that rate."""
        like = self.unet.conv_in.weight
        embeds = diffusion.read_condition(condition, self.condition, like)
        embeds = diffusion.drop(embeds, self.text.null(), drop, generator) if drop else embeds
        states = (
            embeds.repeat_interleave(latents.shape[2], dim=0) if self.moving else embeds
        )  # the 3D unet repeats them
        return diffusion.denoising_loss(
            lambda noisy, t: self.unet(noisy, t, encoder_hidden_states=states).sample,
            latents.to(like),
            self.scheduler,
            generator=generator,
            min_snr=self.min_snr,
            noisy_share=self.noisy_share,
        )

    def latents(
        self, media: Sequence[Video] | Tensor, generator: Generator | None = None
    ) -> Float[Tensor, "b c t y x"]:
        """Scaled latents: the mean, which may be cached, or a sample with a generator."""
        clips = self._clips(media)
        flat = diffusion.encode(self.vae, clips.flatten(0, 1), generator)
        return rearrange(flat, "(b t) c y x -> b c t y x", b=len(clips))

    def scaling_factor(self) -> float:
        """What the autoencoder's latents are multiplied by."""
        return float(self.vae.config.scaling_factor)

    def reconstruct(self, media: Sequence[Video] | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(reconstruction, target, kl) of the autoencoder, frame by frame."""
        return diffusion.reconstruct(self.vae, self._clips(media).flatten(0, 1))

    def fit_scaling(self, media: Sequence[Video] | Tensor) -> float:
        """Set and return the VAE's scaling factor: latents of such media get unit standard deviation."""
        return diffusion.fit_scaling(self.vae, self.latents(media))

    def save(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write a pipeline folder that `path` and diffusers load."""
        folder = Path(folder)
        name = "AnimateDiffPipeline" if self.moving else "TextToVideoSDPipeline"
        absent = ("motion_adapter", "feature_extractor", "image_encoder") if self.moving else ()
        models = {"vae": self.vae, "unet": self.unet}
        return folders.save(folder, name, models, self.scheduler, self.text, dtype, dict.fromkeys(absent))

    def save_motion(self, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
        """Write the motion modules alone, for `motion_adapter=` over an image pipeline that somebody has already."""
        if not self.moving:
            raise ValueError("motion: a text-to-video unet has no motion modules of its own")
        state = {name: value for name, value in self.unet.state_dict().items() if "motion_modules" in name}
        adapter = MotionAdapter(**_adapter_config(self.unet.config))
        adapter.load_state_dict(state)
        with folders.quiet():
            folders.portable(adapter, dtype).save_pretrained(folder)
        return Path(folder)

    def _clips(self, media: Sequence[Video] | Tensor) -> Float[Tensor, "b t 3 h w"]:
        if isinstance(media, Tensor):
            return media
        clips = [video.sample(self.frames).frames.float() for video in media]
        sized = [interpolate(clip, self.size, mode="bicubic", antialias=True) for clip in clips]
        return torch.stack(sized).clamp(0, 255) / 127.5 - 1

    def _pipeline(self) -> Any:
        scheduler = copy.deepcopy(self.scheduler)  # a scheduler counts its steps: one a request
        parts = {"vae": self.vae, "text_encoder": None, "tokenizer": None, "unet": self.unet, "scheduler": scheduler}
        with folders.quiet():
            pipeline: Any = (
                AnimateDiffPipeline(**parts, motion_adapter=None) if self.moving else TextToVideoSDPipeline(**parts)
            )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline


def _unet(source: folders.Source, unet: Spec, motion: Spec, frames: int) -> Any:
    name = source.class_of("unet") or ("UNet3DConditionModel" if motion is None else "UNet2DConditionModel")
    if name == "UNet3DConditionModel":
        if motion is not None:
            raise ValueError("motion_adapter: it goes with an image pipeline, but the pipeline's unet is 3D")
        return source.model("unet", UNet3DConditionModel, unet)
    if name == "UNet2DConditionModel":
        if motion is None:
            raise ValueError(f"motion_adapter: {source.path!r} is an image pipeline, so a motion adapter is required")
        image = source.model("unet", UNet2DConditionModel, unet)
        model = UNetMotionModel.from_unet2d(image, _adapter(source, motion, image, frames)).eval()
    else:
        model = source.model("unet", UNetMotionModel, unet)
    if model.config.motion_max_seq_length < frames:
        raise ValueError(f"frames: {frames} are more than the motion adapter's {model.config.motion_max_seq_length}")
    return model


def _adapter(source: folders.Source, given: Mapping[str, Any] | str, unet: Any, frames: int) -> Any:
    if isinstance(given, str):
        return source.model("motion_adapter", MotionAdapter, given)
    config = {
        "block_out_channels": unet.config.block_out_channels,
        "motion_layers_per_block": unet.config.layers_per_block,
        "motion_norm_num_groups": unet.config.norm_num_groups,
        "motion_max_seq_length": max(frames, 32),
    }
    adapter = source.model("motion_adapter", MotionAdapter, config | dict(given))
    with torch.no_grad():
        for name, parameter in adapter.named_parameters():
            if ".proj_out." in name:
                parameter.zero_()
    return adapter


def _adapter_config(config: Any) -> dict[str, Any]:
    return {
        "block_out_channels": config.block_out_channels,
        "motion_layers_per_block": config.layers_per_block,
        "motion_transformer_layers_per_block": config.temporal_transformer_layers_per_block,
        "motion_transformer_layers_per_mid_block": config.temporal_transformer_layers_per_mid_block,
        "motion_norm_num_groups": config.norm_num_groups,
        "motion_num_attention_heads": config.motion_num_attention_heads,
        "motion_max_seq_length": config.motion_max_seq_length,
        "use_motion_mid_block": config.use_motion_mid_block,
    }
