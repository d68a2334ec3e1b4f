"""Autoencoders of whole clips: one latent frame for the first frame, then one for each so many that follow.

Their latents are a sequence here, as the transformers and pipelines of such models read them.

Letters: b items, t frames, h w pixels, y x latent axes, s latent positions, c channels.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor

from . import checks
from .spaces import own_precision


def grid(vae: Any, frames: int, size: tuple[int, int]) -> tuple[int, int, int]:
    """Latent frames, rows and columns of clips."""
    space, time = vae.spatial_compression_ratio, vae.temporal_compression_ratio
    return (frames - 1) // time + 1, size[0] // space, size[1] // space


def check_frames(vae: Any, frames: int) -> int:
    """One frame, and any multiple of what the autoencoder joins."""
    step = vae.temporal_compression_ratio
    below = (checks.count("frames", frames) - 1) // step * step + 1
    if frames != below:
        raise ValueError(
            f"frames: {frames} given; the autoencoder reads {step} k + 1 of them: {below} or {below + step}"
        )
    return int(frames)


@torch.no_grad()
def encode(vae: Any, clips: Float[Tensor, "b t c h w"], generator: Generator | None = None) -> Float[Tensor, "b s c"]:
    """Latents of unit deviation: the posterior's mean, so that they can be cached, or a sample with a generator."""
    with own_precision(vae.device):
        posterior = _posterior(vae, clips)
    found = posterior.mode() if generator is None else posterior.sample(generator)
    mean, deviation = (x.view(1, -1, 1, 1, 1).to(found) for x in (vae.latents_mean, vae.latents_std))
    made: Tensor = rearrange((found - mean) * vae.config.scaling_factor / deviation, "b c t y x -> b (t y x) c")
    return made


def reconstruct(vae: Any, clips: Float[Tensor, "b t c h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """(reconstruction, target, mean KL per latent element), with a sample of the posterior, frame after frame."""
    posterior = _posterior(vae, clips)
    level = posterior.mean.new_zeros(len(clips)) if vae.config.timestep_conditioning else None
    made = rearrange(vae.decode(posterior.sample(), level).sample, "b c t h w -> (b t) c h w")
    return made, clips.flatten(0, 1).to(made), posterior.kl().mean() / posterior.mean[0].numel()


def _posterior(vae: Any, clips: Float[Tensor, "b t c h w"]) -> Any:
    return vae.encode(rearrange(clips, "b t c h w -> b c t h w").to(vae.device, vae.dtype)).latent_dist
