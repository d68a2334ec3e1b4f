"""What the diffusion decoders share, as functions: schedulers, seeded noise, the denoising loss, the latent space.

Pipelines are diffusers' own and are called with `prompt_embeds=`; nothing of them is repeated here. Training uses the
noise schedule and the prediction type (epsilon, v_prediction or sample) of the same scheduler configuration.

Letters: b items, c channels, h height, w width, l condition length, d condition width; `...` stands for the latent's
own axes: (c, h, w), for videos (c, t, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn.functional import mse_loss

from anyx.interfaces import Condition
from anyx.media import Image

from .folders import Source, check_keys

Progress = Callable[[int, int], None]

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


NOISIEST = 0.15  # of the timesteps: where a condition has to say all


def make_scheduler(given: Mapping[str, Any] | str | None, source: Source) -> Any:
    """The sampler: the pipeline's own, under another name ("dpmsolver++", ...), or with `{type: name, key: value}`."""
    base: dict[str, Any] = dict(NOISE)
    if source.class_of("scheduler") is not None:
        base = dict(DDPMScheduler.load_config(source.path, subfolder="scheduler"))
    changes = {"type": given} if isinstance(given, str) else dict(given or {})
    name = changes.pop("type", None)
    if name is not None and name not in SCHEDULERS:
        raise ValueError(f"scheduler: {name!r} is not one of {', '.join(SCHEDULERS)}")
    cls = getattr(diffusers, SCHEDULERS[name] if name else base["_class_name"])
    check_keys("scheduler", cls, changes)
    with torch.device("cpu"):  # schedulers compute with numpy, which the meta device has no numbers for
        return cls.from_config(base, **changes)


def starting_noise(shape: tuple[int, ...], generators: Sequence[Generator], like: Tensor) -> Float[Tensor, "b ..."]:
    """Unit noise, one generator an item: an item's noise knows nothing of its neighbours, the device or the dtype."""
    rows = [torch.randn(shape, generator=g, device=g.device) for g in generators]
    return torch.stack([row.to(like.device) for row in rows]).to(like.dtype)


def read_condition(condition: Condition, shapes: Mapping[str, tuple[int, int]], like: Tensor) -> Float[Tensor, "b l d"]:
    """The one tensor of the condition, checked against the decoder's shapes, in the unet's dtype and device."""
    ((name, shape),) = shapes.items()
    if name not in condition.values:
        raise ValueError(f"the condition has {', '.join(condition.values)}, but the decoder reads {name}")
    value = condition.values[name]
    if tuple(value.shape[1:]) != shape:
        raise ValueError(f"condition {name} is {tuple(value.shape)}, but the decoder reads (b, {shape[0]}, {shape[1]})")
    return value.to(device=like.device, dtype=like.dtype)


def check_generators(generators: Sequence[Generator], items: int) -> list[Generator]:
    """One generator an item."""
    if len(generators) != items:
        raise ValueError(f"received {len(generators)} generators for {items} conditions; each item has exactly one")
    return list(generators)


def check_steps(steps: int) -> int:
    """Denoising steps: at least one, or what comes out is decoded noise."""
    if not isinstance(steps, Integral) or steps < 1:
        raise ValueError(f"steps: {steps!r} given; it is a whole number, 1 or more")
    return int(steps)


def drop(
    values: Float[Tensor, "b l d"], null: Float[Tensor, "1 l d"], rate: float, generator: Generator | None = None
) -> Float[Tensor, "b l d"]:
    """Replace each item's condition by the null condition with probability `rate` (classifier-free guidance)."""
    if rate <= 0:
        return values
    chosen = _rand(len(values), generator, values.device) < rate
    return torch.where(chosen[:, None, None], null.to(values), values)


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

    For parity with NExT-GPT v2, which is wrong twice: `prediction: epsilon` whatever the scheduler says, and
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


@torch.no_grad()
def encode(vae: Any, images: Float[Tensor, "b c h w"], generator: Generator | None = None) -> Float[Tensor, "b z y x"]:
    """Scaled latents: the posterior's mean, so that they can be cached, or a sample with a generator."""
    posterior = vae.encode(images.to(device=vae.device, dtype=vae.dtype)).latent_dist
    latents: Tensor = (
        posterior.mode() if generator is None else posterior.sample(generator)
    ) * vae.config.scaling_factor
    return latents


def reconstruct(vae: Any, images: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor, Tensor]:
    """(reconstruction, target, mean KL per latent element), with a sample of the posterior."""
    images = images.to(device=vae.device, dtype=vae.dtype)
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


def image_size(given: int | Sequence[int] | None, unet: Any, vae: Any) -> tuple[int, int]:
    """Height and width in pixels: as given, or the unet's own."""
    scale = latent_scale(vae)
    size = tuple(side * scale for side in latent_size(unet)) if given is None else given
    height, width = (size, size) if isinstance(size, int) else (size[0], size[1])
    if height % max(scale, 8) or width % max(scale, 8):
        raise ValueError(f"size: {(height, width)} is not a multiple of {max(scale, 8)}")
    return height, width


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


def pixels(images: Float[Tensor, "... 3 h w"]) -> Tensor:
    """A pipeline's images in [0, 1] as bytes."""
    return images.float().mul(255).round().clamp(0, 255).to(torch.uint8).cpu()


def on_step_end(progress: Progress | None) -> Callable[[Any, int, Any, dict[str, Any]], dict[str, Any]] | None:
    """`progress(step, total)` as a pipeline's `callback_on_step_end`."""
    if progress is None:
        return None

    def call(pipeline: Any, step: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
        progress(step + 1, len(pipeline.scheduler.timesteps))
        return values

    return call


def on_callback(progress: Progress | None, pipeline: Any) -> Callable[[int, Any, Tensor], None] | None:
    """The same as the `callback` of pipelines that are older."""
    if progress is None:
        return None
    return lambda step, _, latents: progress(step + 1, len(pipeline.scheduler.timesteps) // pipeline.scheduler.order)


def _rand(items: int, generator: Generator | None, device: torch.device) -> Tensor:
    return torch.rand(items, generator=generator, device=device if generator is None else generator.device).to(device)
