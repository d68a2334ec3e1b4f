"""Running a pipeline of diffusers from a condition: what every decoder's `forward` does, once.

A `Pipeline` says which one and how it takes a condition; `run` calls it with seeded noise, one generator an item, the
null condition as the negative, and no text encoder. Nothing of the pipelines is repeated here.

Letters: b items; `...` the latent's own axes.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from anyx.interfaces import Condition

from . import checks, threads
from .conditions import Field, check_generators, items, keywords
from .residence import Offload, lent

ROLES = {"unet": "denoiser", "transformer": "denoiser"}  # components by their part; others are parts of their own name


class Pipeline(NamedTuple):
    """A pipeline of diffusers: its class, how it takes each tensor of the condition, its components that are no model.

    `others` are arguments of its constructor and entries of model_index.json; None is a component it runs without.
    `shells` names text encoders whose dtype the pipeline asks, although it does not run them.
    """

    cls: Any
    fields: Mapping[str, Field]
    others: Mapping[str, Any] = {}
    shells: Collection[str] = ()


class Asked(NamedTuple):
    """What one call of a decoder asks; None is its own default. `latents` (b, ...) stand for the drawn noise."""

    generators: Sequence[Generator]
    steps: int | None = None
    guidance: float | None = None
    progress: Callable[[int, int], None] | None = None
    latents: Tensor | None = None


@runtime_checkable
class Runs(Protocol):
    """What `run` reads of a decoder."""

    pipeline: Pipeline
    scheduler: Any
    steps: int
    guidance: float
    offload: Offload

    def models(self) -> dict[str, nn.Module]:
        """The components that are models, by the pipeline's names."""
        ...

    def read(self, condition: Condition) -> Condition:
        """The condition, checked, as the denoiser reads it."""
        ...

    def null_condition(self) -> Condition:
        """The condition of the empty caption."""
        ...


class Shell(NamedTuple):
    """Stands where a pipeline reads its text encoder's dtype and asks of what family it is."""

    dtype: torch.dtype
    config: Any = SimpleNamespace(model_type=None)


def denoiser(models: Mapping[str, nn.Module]) -> Any:
    """The denoiser among a pipeline's components."""
    return next(model for name, model in models.items() if ROLES.get(name) == "denoiser")


def like(decoder: Runs) -> Tensor:
    """A tensor on the denoiser's device and of its dtype."""
    first: Tensor = next(iter(denoiser(decoder.models()).parameters()))
    return first


def check_defaults(steps: int, guidance: float) -> tuple[int, float]:
    """Denoising steps, at least one, or what comes out is decoded noise; and classifier-free guidance."""
    return checks.count("steps", steps), checks.amount("guidance", guidance)


def run(decoder: Runs, condition: Condition, asked: Asked, *, shape: tuple[int, ...], call: Mapping[str, Any]) -> Any:
    """What the pipeline makes of b conditions; `shape` is that of one item's latents, `call` the arguments of its own.

    ValueError where conditions, generators and latents are not equally many, or of another shape.
    """
    models, pipeline = decoder.models(), decoder.pipeline
    steps = decoder.steps if asked.steps is None else asked.steps
    steps, guidance = check_defaults(steps, decoder.guidance if asked.guidance is None else asked.guidance)
    waiting = models.values() if decoder.offload == "model" else ()
    with torch.inference_mode(), lent(waiting, next(iter(condition.values.values())).device):
        given, null = decoder.read(condition), decoder.read(decoder.null_condition())
        target = like(decoder)
        generators = check_generators(asked.generators, items(given))
        shells = {name: Shell(target.dtype) for name in pipeline.shells}
        made = assemble(pipeline, models, {**shells, "scheduler": copy.deepcopy(decoder.scheduler)})  # it counts steps
        return made(
            **keywords(pipeline.fields, given, null),
            latents=starting_noise(shape, generators, target, asked.latents),
            generator=generators,
            num_inference_steps=steps,
            guidance_scale=guidance,
            **_reporting(asked.progress, made),
            **call,
        )


def assemble(pipeline: Pipeline, models: Mapping[str, nn.Module], others: Mapping[str, Any]) -> Any:
    """The pipeline over models that are in memory already, without text encoders."""
    known = inspect.signature(pipeline.cls.__init__).parameters
    absent = {name: None for name in known if name.startswith(("text_encoder", "tokenizer"))}
    with threads.quiet():
        made = pipeline.cls(**{**absent, **models, **pipeline.others, **others})
    made.set_progress_bar_config(disable=True)
    return made


def starting_noise(
    shape: tuple[int, ...], generators: Sequence[Generator], like: Tensor, given: Tensor | None = None
) -> Float[Tensor, "b ..."]:
    """Unit noise, one generator an item: an item's noise knows nothing of its neighbours, the device or the dtype."""
    if given is not None:
        known = tuple(given.shape) if isinstance(given, Tensor) else given
        if not isinstance(given, Tensor) or known != (len(generators), *shape):
            raise ValueError(f"latents: {known!r} given; they are {(len(generators), *shape)}, a tensor")
        return given.to(device=like.device, dtype=like.dtype)
    rows = [torch.randn(shape, generator=g, device=g.device) for g in generators]
    return torch.stack([row.to(like.device) for row in rows]).to(like.dtype)


def _reporting(progress: Callable[[int, int], None] | None, pipeline: Any) -> dict[str, Any]:
    """`progress(step, total)` as a pipeline's `callback_on_step_end`, or as the `callback` of those that are older."""
    if progress is None:
        return {}
    if "callback_on_step_end" not in inspect.signature(pipeline.__call__).parameters:
        scheduler = pipeline.scheduler
        return {"callback": lambda step, _, latents: progress(step + 1, len(scheduler.timesteps) // scheduler.order)}

    def call(pipeline: Any, step: int, _: Any, values: dict[str, Any]) -> dict[str, Any]:
        progress(step + 1, len(pipeline.scheduler.timesteps))
        return values

    return {"callback_on_step_end": call}
