"""Schedulers by name, and the denoising loss of a scheduler's own noise schedule and prediction type.

Training uses the schedule and the prediction type (epsilon, v_prediction or sample) of the configuration that decoding
uses. How a decoder is added: `methods.py`.

Letters: b items; `...` stands for the latent's own axes: (c, h, w), for videos (c, t, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import diffusers
import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from . import checks
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

MinSNR = float | Mapping[str, Any] | None  # gamma, or {gamma, over: samples or batch}
LossTarget = Literal["own", "epsilon", "sample", "v_prediction"]  # own: the scheduler's prediction type
NOISIEST = 0.15  # of the timesteps: where a condition has to say all


class Objective(NamedTuple):
    """How a decoder's denoising loss counts: the keywords of `denoising_loss` that a YAML may say."""

    min_snr: float | None = None
    average_weights: bool = False
    noisy_share: float = 0.0
    prediction: str | None = None


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
    base = schedule_of(source, default)
    classes = {OWN: base["_class_name"], **names}
    return scheduler_of(given, base, classes, FASTEST if base["_class_name"] in SLOWER else OWN)


def schedule_of(source: Source, default: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of the pipeline's own scheduler, or the default where there is none."""
    if source.class_of("scheduler") is None:
        return dict(default)
    return dict(DDPMScheduler.load_config(source.path, subfolder="scheduler"))


def scheduler_of(
    given: Mapping[str, Any] | str | None, base: Mapping[str, Any], classes: Mapping[str, Any], usual: str
) -> Any:
    """What is given, a name or `{type: name, key: value}`, over a configuration; `usual` is the name where none is.

    `classes` by our names: diffusers', by their own names, or ours.
    """
    changes = {"type": given} if isinstance(given, str) else dict(given or {})
    name = changes.pop("type", usual)
    if name not in classes:
        raise ValueError(f"scheduler: {name!r} is not one of {', '.join(classes)}")
    cls = getattr(diffusers, classes[name]) if isinstance(classes[name], str) else classes[name]
    check_keys("scheduler", cls, changes)
    with torch.device("cpu"):  # schedulers compute with numpy, which the meta device has no numbers for
        return cls.from_config(base, **changes)


def denoising_loss(
    predict: Callable[[Tensor, Tensor], Tensor],
    latents: Float[Tensor, "b ..."],
    scheduler: Any,
    *,
    generator: Generator | None = None,
    min_snr: float | None = None,
    noisy_share: float = 0.0,
    prediction: str | None = None,
    average_weights: bool = False,
    steps: Int[Tensor, " b"] | None = None,
    noise: Float[Tensor, "b ..."] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of `predict(noisy, timesteps)` against the scheduler's own prediction type.

    `min_snr` weighs samples by the clipped signal-to-noise ratio of their timesteps (min-SNR-gamma, Hang et al. 2023; 5
    is usual). `noisy_share` of the samples is taken from the noisiest 15% of the timesteps, where only the condition
    says what to make. `steps` and `noise` are drawn unless they are given.

    For parity with NExT-GPT v2, which is wrong twice: `prediction="epsilon"` whatever the scheduler says, and
    `average_weights`, the batch's mean error times its mean weight.
    """
    schedule = DDPMScheduler.from_config(scheduler.config)
    count, kind = schedule.config.num_train_timesteps, prediction or schedule.config.prediction_type
    if steps is None:
        place = _rand(len(latents), generator, latents.device)
        if noisy_share:
            noisiest = _rand(len(latents), generator, latents.device) < noisy_share
            place = torch.where(noisiest, 1 - NOISIEST * place, place)
        steps = (place * count).long().clamp(max=count - 1)
    if noise is None:
        device = latents.device if generator is None else generator.device
        noise = torch.randn(latents.shape, generator=generator, device=device).to(latents)
    target = training_target(schedule, latents, noise, steps, kind)
    said = predict(schedule.add_noise(latents, noise, steps), steps)
    error = mse_loss(said.float(), target.float(), reduction="none").flatten(1).mean(1)
    if min_snr is None:
        return error.mean()
    weights = min_snr_weights(signal_to_noise(schedule, steps), min_snr, kind)
    return error.mean() * weights.mean() if average_weights else (error * weights).mean()


def read_min_snr(given: MinSNR) -> tuple[float | None, bool]:
    """(gamma, whether the batch's mean weight takes the place of each sample's) of what a decoder's `min_snr` says."""
    known = given if isinstance(given, Mapping) else {"gamma": given}
    wrong = set(known) - {"gamma", "over"} or known.get("over", "samples") not in ("samples", "batch")
    gamma = known.get("gamma")
    number = isinstance(gamma, int | float) and not isinstance(gamma, bool) and gamma > 0
    if wrong or not (number or given is None):
        raise ValueError(
            f"min_snr: {given!r} given; it is a gamma above 0, or {{gamma: above 0, over: samples or batch}}"
        )
    return gamma, known.get("over") == "batch"


def objective(min_snr: MinSNR, noisy_share: float, loss_target: LossTarget) -> Objective:
    """What a decoder's loss options say, checked.

    `loss_target` is what the denoiser's answer is held against. Decoding reads the answer by the scheduler's prediction
    type all the same, so another target is wrong; it is there for parity with NExT-GPT v2, which regresses epsilon on
    Stable Diffusion 2, whose denoiser says velocities.
    """
    if loss_target not in get_args(LossTarget):
        raise ValueError(f"loss_target: {loss_target!r} is not one of {', '.join(get_args(LossTarget))}")
    share = checks.amount("noisy_share", noisy_share, most=1)
    return Objective(*read_min_snr(min_snr), share, None if loss_target == OWN else loss_target)


def signal_to_noise(schedule: Any, steps: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """The ratio of the signal's variance to the noise's at timesteps."""
    signal = schedule.alphas_cumprod.to(steps.device)[steps]
    return (signal / (1 - signal)).clamp(min=1e-8)  # type: ignore[no-any-return]


def min_snr_weights(ratio: Float[Tensor, " b"], gamma: float, kind: str) -> Float[Tensor, " b"]:
    """Min-SNR-gamma: the clipped ratio over what the prediction type weighs by itself."""
    itself = {"epsilon": ratio, "v_prediction": ratio + 1, "sample": torch.ones_like(ratio)}[kind]
    return ratio.clamp(max=gamma) / itself


def training_target(
    schedule: Any, latents: Tensor, noise: Tensor, steps: Tensor, prediction: str | None = None
) -> Tensor:
    """What the unet should say at `steps`, by the schedule's prediction type or by another."""
    kind = prediction or schedule.config.prediction_type
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
