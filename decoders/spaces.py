"""Latent spaces: media as what an autoencoder reads, its latents, their scale and size, and pixels again.

A picture's autoencoder reads clips frame by frame: tensors (b, t, 3, h, w) give latents (b, c, t, y, x).

Letters: b items, c channels, t frames, h height, w width, y x latent axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import interpolate

from anyx.media import Image, Video

from . import checks


@torch.no_grad()
def encode(vae: Any, images: Float[Tensor, "b *t c h w"], generator: Generator | None = None) -> Float[Tensor, "b ..."]:
    """Scaled latents: the posterior's mean, so that they can be cached, or a sample with a generator."""
    flat = images.flatten(0, -4).to(device=vae.device, dtype=vae.dtype)
    posterior = vae.encode(flat).latent_dist
    latents: Tensor = scaled(vae, posterior.mode() if generator is None else posterior.sample(generator))
    return latents if images.ndim == 4 else rearrange(latents, "(b t) c y x -> b c t y x", b=len(images))


@contextmanager
def own_precision(device: torch.device) -> Iterator[None]:
    """No autocast: what is denoised is the same whatever the step's precision, computed now or kept from before."""
    with torch.autocast("cpu" if device.type == "meta" else device.type, enabled=False):
        yield


def scaled(vae: Any, latents: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """Latents as the denoiser knows them: shifted, where the autoencoder says by how much, and scaled."""
    shift = vae.config.get("shift_factor")
    made: Tensor = (latents if shift is None else latents - shift) * vae.config.scaling_factor
    return made


def reconstruct(vae: Any, images: Float[Tensor, "b *t c h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """(reconstruction, target, mean KL per latent element), with a sample of the posterior; clips frame by frame."""
    images = images.flatten(0, -4).to(device=vae.device, dtype=vae.dtype)
    posterior = vae.encode(images).latent_dist
    return vae.decode(posterior.sample()).sample, images, posterior.kl().mean() / posterior.mean[0].numel()


def fit_scaling(vae: Any, latents: Float[Tensor, "b ..."]) -> float:
    """Set the VAE's scaling factor so that latents such as these (scaled as of now) have unit standard deviation."""
    factor = float(vae.config.scaling_factor / latents.float().std())
    vae.register_to_config(scaling_factor=factor)
    return factor


def latent_scale(vae: Any) -> int:
    """Pixels a latent position spans along one axis."""
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def latent_size(unet: Any) -> tuple[int, int]:
    """The unet's own latent height and width."""
    size = unet.config.sample_size
    if size is None:
        raise ValueError("size: the unet's configuration has no sample_size, so `size` is required")
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def image_size(given: int | Sequence[int] | None, unet: Any, vae: Any, *, multiple: int = 8) -> tuple[int, int]:
    """Height and width in pixels: as given, or the unet's own."""
    scale = latent_scale(vae)
    own = tuple(side * scale for side in latent_size(unet)) if given is None else given
    return checks.size(own, max(scale, multiple))


def latent_shape(unet: Any, vae: Any, size: tuple[int, int], *frames: int) -> tuple[int, ...]:
    """Channels, frames of a clip, and the latent axes of a size in pixels."""
    scale = latent_scale(vae)
    return (int(unet.config.in_channels), *frames, size[0] // scale, size[1] // scale)


def condition_dim(unet: Any) -> int:
    """Width of the conditions that the unet's cross-attention reads."""
    dim = unet.config.cross_attention_dim
    return int(dim if isinstance(dim, int) else dim[0])


def image_batch(images: Sequence[Image] | Tensor, size: tuple[int, int]) -> Float[Tensor, "b 3 h w"]:
    """Images resized and scaled to [-1, 1]; a tensor is taken to be such a batch already."""
    if isinstance(images, Tensor):
        return images
    pixels = [(image if image.size == size else image.resize(*size)).pixels for image in images]
    return torch.stack(pixels).float() / 127.5 - 1


def clip_batch(media: Sequence[Video] | Tensor, frames: int, size: tuple[int, int]) -> Float[Tensor, "b t 3 h w"]:
    """Clips, so many frames of each, resized and scaled to [-1, 1]; a tensor is taken to be such a batch already."""
    if isinstance(media, Tensor):
        return media
    clips = [video.sample(frames).frames.float() for video in media]
    sized = [interpolate(clip, size, mode="bicubic", antialias=True) for clip in clips]
    return torch.stack(sized).clamp(0, 255) / 127.5 - 1


def pixels(images: Float[Tensor, "... 3 h w"]) -> Tensor:
    """A pipeline's images in [0, 1] as bytes."""
    return images.float().mul(255).round().clamp(0, 255).to(torch.uint8).cpu()
