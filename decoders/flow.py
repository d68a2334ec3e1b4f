"""Flow matching: the schedulers and the loss of denoisers that say a velocity along straight lines.

Latents at noise level s are (1 - s) x + s e, for data x and noise e, and the denoiser says e - x. It is told the
timestep 1000 s (`num_train_timesteps` s). Levels are drawn as Stable Diffusion 3's paper found best (Esser et al. 2024,
arXiv 2403.03206, section 3.1): the logistic of a normal number, then shifted as the scheduler shifts them (5.3.2).

Letters: b items; `...` the latent's own axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from .diffusion import make_scheduler
from .folders import Source

SCHEDULERS = {"flow_euler": "FlowMatchEulerDiscreteScheduler", "flow_heun": "FlowMatchHeunDiscreteScheduler"}
STRAIGHT = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}


def flow_scheduler(given: Mapping[str, Any] | str | None, source: Source) -> Any:
    """The pipeline's own sampler of straight lines, or one by name, or `{type: name, key: value}`."""
    return make_scheduler(given, source, names=SCHEDULERS, default=STRAIGHT)


def flow_matching_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    latents: Float[Tensor, "b ..."],
    scheduler: Any,
    *,
    generator: Generator | None = None,
    spread: float = 1.0,
) -> Float[Tensor, ""]:
    """Mean squared error of `predict(noisy, timesteps)` against noise - latents, at levels drawn anew for each item.

    `spread` is the standard deviation of the normal number behind a level; 0 is the middle of the path only.
    """
    device = latents.device if generator is None else generator.device
    level = torch.sigmoid(spread * torch.randn(len(latents), generator=generator, device=device))
    level = shifted(level, float(scheduler.config.shift)).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator, device=device).to(latents)
    place = level.view(-1, *[1] * (latents.ndim - 1)).to(latents.dtype)
    said = predict((1 - place) * latents + place * noise, level * scheduler.config.num_train_timesteps)
    return mse_loss(said.float(), (noise - latents).float())


def shifted(level: Float[Tensor, " b"], shift: float) -> Float[Tensor, " b"]:
    """Noise levels of a larger picture: the same signal needs more noise to be hidden as well."""
    return shift * level / (1 + (shift - 1) * level)
