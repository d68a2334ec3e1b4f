"""Schedulers by name, and the denoising loss of a scheduler's own noise schedule and prediction type.

Training uses the schedule and the prediction type (epsilon, v_prediction or sample) of the configuration that decoding
uses. How a decoder is added: `methods.py`.

Letters: b items; `...` stands for the latent's own axes: (c, h, w), for videos (c, t, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from .folders import Source, check_keys

SCHEDULERS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpmsolver++": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler_ancestral": "EulerAncestralDiscreteScheduler",
    "lms": "LMSDiscreteScheduler",
    "pndm": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
STOCHASTIC = ("DDPMScheduler", "EulerAncestralDiscreteScheduler")  # they draw noise at every step
NOISE = {  # Stable Diffusion's, for decoders that are built from configurations
    "_class_name": "DPMSolverMultistepScheduler",
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
}
OWN, FASTEST = "own", "dpmsolver++"
SLOWER = ("DDIMScheduler", "DDPMScheduler", "EulerDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler")

NOISIEST = 0.15  # of the timesteps: where a condition has to say all


def make_scheduler(
    given: Mapping[str, Any] | str | None,
    source: Source,
    *,
    names: Mapping[str, str] = SCHEDULERS,
    default: Mapping[str, Any] = NOISE,
) -> Any:
    """The sampler over the pipeline's noise schedule: a name ("dpmsolver++", ...), or `{type: name, key: value}`.

    Without a name: DPM-Solver++ where the pipeline's own is one that it replaces (`SLOWER`), else the pipeline's own
    ("own"). `names` are diffusers' classes by our names; `default` is the configuration where no pipeline holds one.
    """
    base: dict[str, Any] = dict(default)
    if source.class_of("scheduler") is not None:
        base = dict(DDPMScheduler.load_config(source.path, subfolder="scheduler"))
    changes = {"type": given} if isinstance(given, str) else dict(given or {})
    name = changes.pop("type", FASTEST if base["_class_name"] in SLOWER else OWN)
    if name != OWN and name not in names:
        raise ValueError(f"scheduler: {name!r} is not one of {', '.join((OWN, *names))}")
    cls = getattr(diffusers, base["_class_name"] if name == OWN else names[name])
    check_keys("scheduler", cls, changes)
    with torch.device("cpu"):  # schedulers compute with numpy, which the meta device has no numbers for
        return cls.from_config(base, **changes)


def check_steps(steps: int) -> int:
    """Denoising steps: at least one, or what comes out is decoded noise."""
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps: {steps!r} given; it is a whole number, 1 or more")
    return int(steps)


def denoising_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    latents: Float[Tensor, "b ..."],
    scheduler: Any,
    *,
    generator: Generator | None = None,
    min_snr: float | None = None,
    noisy_share: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean squared error of `predict(noisy, timesteps)` against the scheduler's own prediction type.

    `min_snr` weighs timesteps by the clipped signal-to-noise ratio (min-SNR-gamma; 5 is usual). `noisy_share` of the
    samples is taken from the noisiest 15% of the timesteps, where only the condition says what to make.
    """
    schedule = DDPMScheduler.from_config(scheduler.config)
    count, kind = schedule.config.num_train_timesteps, schedule.config.prediction_type
    place = _rand(len(latents), generator, latents.device)
    if noisy_share:
        noisiest = _rand(len(latents), generator, latents.device) < noisy_share
        place = torch.where(noisiest, 1 - NOISIEST * place, place)
    steps = (place * count).long().clamp(max=count - 1)
    device = latents.device if generator is None else generator.device
    noise = torch.randn(latents.shape, generator=generator, device=device).to(latents)
    target = training_target(schedule, latents, noise, steps)
    said = predict(schedule.add_noise(latents, noise, steps), steps)
    error = mse_loss(said.float(), target.float(), reduction="none").flatten(1).mean(1)
    if min_snr is not None:
        signal = schedule.alphas_cumprod.to(latents.device)[steps]
        ratio = (signal / (1 - signal)).clamp(min=1e-8)
        divisor = {"epsilon": ratio, "v_prediction": ratio + 1, "sample": torch.ones_like(ratio)}[kind]
        error = error * ratio.clamp(max=min_snr) / divisor
    return error.mean()


def training_target(schedule: Any, latents: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
    """What the unet should say at `steps`, by the schedule's prediction type."""
    kind = schedule.config.prediction_type
    if kind == "epsilon":
        return noise
    if kind == "sample":
        return latents
    if kind == "v_prediction":
        velocity: Tensor = schedule.get_velocity(latents, noise, steps)
        return velocity
    raise ValueError(f"prediction_type: {kind!r} is not one of epsilon, sample, v_prediction")


def _rand(items: int, generator: Generator | None, device: torch.device) -> Tensor:
    return torch.rand(items, generator=generator, device=device if generator is None else generator.device).to(device)
