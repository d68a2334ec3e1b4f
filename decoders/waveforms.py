"""Autoencoders of waveforms: sounds as they read them, and their latents.

Letters: b items, c channels, n samples, t latent frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import pad

from anyx.media import Audio

from .spaces import own_precision


def batch(media: Sequence[Audio] | Tensor, vae: Any, count: int) -> Float[Tensor, "b c n"]:
    """So many samples of each sound, cut or padded with silence; a tensor is taken to be that already."""
    if isinstance(media, Tensor):
        return media
    channels = int(vae.config.audio_channels)
    found = [sound.resample(int(vae.config.sampling_rate)).samples[:, :count] for sound in media]
    same = [x if len(x) == channels else x.mean(0, keepdim=True).expand(channels, -1) for x in found]
    return torch.stack([pad(x, (0, count - x.shape[1])) for x in same])


@torch.no_grad()
def encode(vae: Any, samples: Float[Tensor, "b c n"], generator: Generator | None = None) -> Float[Tensor, "b c t"]:
    """Latents: the posterior's mean, so that they can be cached, or a sample with a generator."""
    with own_precision(vae.device):
        posterior = vae.encode(samples.to(vae.device, vae.dtype)).latent_dist
    made: Tensor = posterior.mode() if generator is None else posterior.sample(generator)
    return made


def reconstruct(vae: Any, samples: Float[Tensor, "b c n"]) -> tuple[Tensor, Tensor, Tensor]:
    """(reconstruction, target, mean KL per latent element), with a sample of the posterior."""
    target = samples.to(vae.device, vae.dtype)
    posterior = vae.encode(target).latent_dist
    return vae.decode(posterior.sample()).sample, target, posterior.kl() / posterior.mean.shape[1]
