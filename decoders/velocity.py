"""Diffusion in continuous time by velocities: schedulers of EDM's family, and their loss.

A noisy latent is x cos a + n sin a, of data x with unit deviation and noise n, and the denoiser says its velocity,
n cos a - x sin a (Salimans and Ho 2022, arXiv 2202.00512). EDM's schedulers count in sigma = tan a instead (Karras et
al. 2022, arXiv 2206.00364), and tell the denoiser log(sigma) / 4. Stable Audio's tells it 2 a / pi.

Letters: b items; `...` stands for the latent's own axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from diffusers import EDMDPMSolverMultistepScheduler
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from .diffusion import schedule_of, scheduler_of
from .folders import Source

EDGE = 1e-4  # how near a comes to nothing and to a right angle, in right angles: there log(sigma) has no end


@final
class CosineDPMSolverMultistepScheduler(EDMDPMSolverMultistepScheduler):  # type: ignore[misc]
    """Stable Audio's schedule, solved as EDM's: without the noise between steps, for which diffusers needs torchsde.

    Of the name and the configuration of diffusers' own, so that each reads what the other wrote. With EDM's scheduler
    itself a published Stable Audio would be told noise levels that it was not trained with.
    """

    def precondition_noise(self, sigma: float | Tensor) -> Tensor:
        """The angle in right angles, from 0 (data) to 1 (noise)."""
        return torch.as_tensor(sigma).atan() * 2 / math.pi


SCHEDULERS = {"cosine": CosineDPMSolverMultistepScheduler, "edm": EDMDPMSolverMultistepScheduler}
NOISE = {  # Stable Audio's
    "_class_name": "CosineDPMSolverMultistepScheduler",
    "sigma_min": 0.3,
    "sigma_max": 500.0,
    "sigma_data": 1.0,
    "sigma_schedule": "exponential",
    "prediction_type": "v_prediction",
}


def make_scheduler(given: Mapping[str, Any] | str | None, source: Source) -> Any:
    """The sampler: the pipeline's own, under another name ("cosine", "edm"), or with `{type: name, key: value}`."""
    base = schedule_of(source, NOISE)
    known = {cls.__name__: name for name, cls in SCHEDULERS.items()}
    made = scheduler_of(given, base, SCHEDULERS, known.get(base["_class_name"], base["_class_name"]))
    if made.config.prediction_type not in ("v_prediction", "epsilon"):
        raise ValueError(f"prediction_type: {made.config.prediction_type!r} is not one of v_prediction, epsilon")
    return made


def velocity_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    latents: Float[Tensor, "b ..."],
    scheduler: Any,
    *,
    generator: Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of `predict(noisy, noise level)` against the velocity; angles are drawn evenly.

    Where the scheduler's `prediction_type` is epsilon, EDM's own, the denoiser says the velocity with the other sign.
    """
    device = latents.device if generator is None else generator.device
    place = torch.rand(len(latents), generator=generator, device=device).clamp(EDGE, 1 - EDGE).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator, device=device).to(latents.device)
    scale = scheduler.config.sigma_data
    angle = (place * math.pi / 2).view(-1, *(1 for _ in latents.shape[1:]))
    data, cos, sin = latents.float() / scale, angle.cos(), angle.sin()
    levels = scheduler.precondition_noise(scale * angle.flatten().tan())
    said = predict((data * cos + noise * sin).to(latents.dtype), levels)
    sign = 1 if scheduler.config.prediction_type == "v_prediction" else -1
    return mse_loss(said.float(), sign * (noise * cos - data * sin))
