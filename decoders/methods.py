"""Methods that latent-diffusion decoders have in common, as functions of a decoder.

To add a decoder, write one file with a final class of `anyx.interfaces.Decoder`:

1. `__init__` with keywords only. Components come from `folders.Source(path, dtype)`: `source.vae(vae)`,
   `source.model("unet", Class, unet)`, `diffusion.make_scheduler(scheduler, source)`; the text encoders from `text.py`
   as `self.text`, whose `shapes` are `self.condition`. It sets what `Latent` and `pipelines.Runs` list (`Weighted` if
   its loss is `denoising_loss`), `offload` with `_apply = residence.stay` among them.
2. `models()`: the components by the pipeline's names, which also names the parts: `unet` and `transformer` are
   `denoiser`. `read(condition)`: usually `read_condition(condition, self.condition, pipelines.like(self))`.
   `tensor(media)`: media as the autoencoder reads them. `predict(noisy, steps, condition)`: the denoiser's answer.
3. `forward`: `pipelines.run` with a `Pipeline` (diffusers' class and how it takes each tensor of the condition), and
   what it gives as media. Its keywords after `progress` are what `decode={key: {...}}` may say. Pictures have theirs in
   `pictures.py`, sounds of log-mel frames in `sounds.py`.
4. The rest is taken from here, in the class body: `latents = methods.latents`, and so on; `denoising_loss` is
   `methods.denoising_loss`, or `methods.flow_loss` where the denoiser says a velocity. What differs is written.

One line in `anyx/registry.py`, one row of tiny arguments in `tests/components.py`: the contract tests find it there.

Letters: b items; `...` the latent's own axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anyx.interfaces import Condition

from . import conditions, diffusion, flow, folders, pipelines, spaces
from .text import TextEncoders


@runtime_checkable
class Latent(pipelines.Runs, Protocol):
    """What these methods read of a decoder."""

    vae: Any
    text: TextEncoders

    def tensor(self, media: Any) -> Tensor:
        """Media as the autoencoder reads them; a tensor is taken to be that already."""
        ...

    def predict(self, noisy: Tensor, steps: Tensor, condition: Condition) -> Tensor:
        """What the denoiser says of noisy latents at timesteps (b,)."""
        ...

    def latents(self, media: Any, generator: Generator | None = None) -> Tensor:
        """Scaled latents of media."""
        ...

    def denoising_loss(
        self, condition: Condition, latents: Tensor, generator: Generator | None = None, *, drop: float = 0.0
    ) -> Tensor:
        """The loss from such latents."""
        ...


@runtime_checkable
class Weighted(Latent, Protocol):
    """One whose loss may prefer some timesteps, or another target."""

    objective: diffusion.Objective


def parts(decoder: Latent) -> dict[str, list[nn.Parameter]]:
    """What may learn."""
    found: dict[str, list[nn.Parameter]] = {}
    for name, model in decoder.models().items():
        found.setdefault(pipelines.ROLES.get(name, name), []).extend(model.parameters())
    return found | {"text": list(decoder.text.parameters())}


def null_condition(decoder: Latent) -> Condition:
    """The condition of the empty caption, batch 1."""
    return decoder.text.null_condition()


def encode_text(decoder: Latent, captions: Sequence[str]) -> Condition:
    """The text encoder's own condition for captions; masks of real positions."""
    return decoder.text.condition(captions)


def text_parts(decoder: Latent) -> tuple[nn.Module, str]:
    """The text encoder, in memory, and its tokenizer written out."""
    return decoder.text.load(), decoder.text.words()


def release_text(decoder: Latent) -> None:
    """Drop the text encoder from memory, where it can be loaded again as it is."""
    decoder.text.release()


def read(decoder: Any, condition: Condition) -> Condition:
    """The condition, checked, in the denoiser's dtype and on its device."""
    return conditions.read_condition(condition, decoder.condition, pipelines.like(decoder))


def loss(decoder: Latent, condition: Condition, media: Any, *, drop: float = 0.0) -> Float[Tensor, ""]:
    """Denoising loss of media (or a tensor, as the autoencoder reads them) under their conditions."""
    return decoder.denoising_loss(condition, decoder.latents(media), drop=drop)


def denoising_loss(
    decoder: Weighted,
    condition: Condition,
    latents: Float[Tensor, "b ..."],
    generator: Generator | None = None,
    *,
    drop: float = 0.0,
) -> Float[Tensor, ""]:
    """The same from `latents()` made before; `drop` replaces conditions by the null one at that rate."""
    given = dropped(decoder, condition, drop, generator)
    return diffusion.denoising_loss(
        lambda noisy, t: decoder.predict(noisy, t, given),
        latents.to(pipelines.like(decoder)),
        decoder.scheduler,
        generator=generator,
        **decoder.objective._asdict(),
    )


def flow_loss(
    decoder: Latent,
    condition: Condition,
    latents: Float[Tensor, "b ..."],
    generator: Generator | None = None,
    *,
    drop: float = 0.0,
    scheduler: Any = None,
) -> Float[Tensor, ""]:
    """The same of a denoiser that says a velocity (`flow.py`): a method `denoising_loss`.

    `scheduler` says how levels are shifted, where that is not the decoder's own.
    """
    given = dropped(decoder, condition, drop, generator)
    return flow.flow_matching_loss(
        lambda noisy, t: decoder.predict(noisy, t, given),
        latents.to(pipelines.like(decoder)),
        decoder.scheduler if scheduler is None else scheduler,
        generator=generator,
    )


def latents(decoder: Latent, media: Any, generator: Generator | None = None) -> Float[Tensor, "b ..."]:
    """Scaled latents: the mean, which may be cached, or a sample with a generator."""
    with spaces.own_precision(decoder.vae.device):
        return spaces.encode(decoder.vae, decoder.tensor(media), generator)


def scaling_factor(decoder: Latent) -> float:
    """What the autoencoder's latents are multiplied by."""
    return float(decoder.vae.config.scaling_factor)


def reconstruct(decoder: Latent, media: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(reconstruction, target, kl) of the autoencoder; of clips frame by frame."""
    return spaces.reconstruct(decoder.vae, decoder.tensor(media))


def fit_scaling(decoder: Latent, media: Any) -> float:
    """Set and return the VAE's scaling factor: latents of such media get unit standard deviation."""
    return spaces.fit_scaling(decoder.vae, decoder.latents(media))


def save(decoder: Latent, folder: str | Path, dtype: torch.dtype | None = None) -> Path:
    """Write a pipeline folder that `path` and diffusers load."""
    pipeline = decoder.pipeline
    name = pipeline.cls.__name__
    return folders.save(Path(folder), name, decoder.models(), decoder.scheduler, decoder.text, dtype, pipeline.others)


def dropped(decoder: Latent, condition: Condition, rate: float, generator: Generator | None) -> Condition:
    """The condition as the denoiser reads it, items of it replaced by the null one at a rate."""
    given = decoder.read(condition)
    return given.dropped(decoder.read(decoder.null_condition()), rate, generator) if rate else given
