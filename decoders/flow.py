"""Flow matching: its scheduler, and the loss of a denoiser that says the velocity from data to noise.

A noisy latent is (1 - s) x + s n, and the denoiser is told s times the number of timesteps and says n - x (Lipman et
al. 2023, arXiv 2210.02747). Training draws s by a logit-normal law (Esser et al. 2024, arXiv 2403.03206) and moves it
towards noise as the scheduler does when it decodes.

Letters: b items; `...` stands for the latent's own axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from .folders import Source, check_keys


def make_scheduler(given: Mapping[str, Any] | str | None, source: Source) -> Any:
    """Euler's steps along the flow, with the pipeline's own configuration and the keys given; its name is "flow"."""
    base: dict[str, Any] = {}
    if source.class_of("scheduler") is not None:
        base = dict(FlowMatchEulerDiscreteScheduler.load_config(source.path, subfolder="scheduler"))
    changes = {"type": given} if isinstance(given, str) else dict(given or {})
    if (name := changes.pop("type", "flow")) != "flow":
        raise ValueError(f"scheduler: {name!r} is not one of flow")
    check_keys("scheduler", FlowMatchEulerDiscreteScheduler, changes)
    with torch.device("cpu"):
        return FlowMatchEulerDiscreteScheduler.from_config(base, **changes)


def flow_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    latents: Float[Tensor, "b ..."],
    scheduler: Any,
    *,
    generator: Generator | None = None,
    tokens: int | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of `predict(noisy, timesteps)` against noise minus data.

    `tokens`: how many positions the denoiser reads, for schedulers that shift by it (`use_dynamic_shifting`).
    """
    device = latents.device if generator is None else generator.device
    place = torch.randn(len(latents), generator=generator, device=device).sigmoid()
    noise = torch.randn(latents.shape, generator=generator, device=device).to(latents.device)
    sigmas = _shifted(place.cpu(), scheduler, tokens).to(latents.device)
    share = sigmas.view(-1, *(1 for _ in latents.shape[1:]))
    noisy = (1 - share) * latents.float() + share * noise
    said = predict(noisy.to(latents.dtype), sigmas * scheduler.config.num_train_timesteps)
    return mse_loss(said.float(), noise - latents.float())


def _shifted(sigmas: Float[Tensor, b], scheduler: Any, tokens: int | None) -> Float[Tensor, b]:
    config = scheduler.config
    if not config.use_dynamic_shifting:
        moved: Tensor = scheduler.shift * sigmas / (1 + (scheduler.shift - 1) * sigmas)
        return moved
    assert tokens is not None
    slope = (config.max_shift - config.base_shift) / (config.max_image_seq_len - config.base_image_seq_len)
    shift = config.base_shift + slope * (tokens - config.base_image_seq_len)
    return torch.from_numpy(np.asarray(scheduler.time_shift(shift, 1.0, sigmas.numpy()), dtype=np.float32))
