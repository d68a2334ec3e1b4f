"""What decoders of pictures have in common, as functions of a decoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Generator, Tensor

from anyx.interfaces import Condition
from anyx.media import Image

from . import checks, pipelines, spaces


@runtime_checkable
class Pictures(pipelines.Runs, Protocol):
    """What these functions read of a decoder."""

    vae: Any
    size: tuple[int, int]

    def sized(self, size: int | Sequence[int] | None) -> tuple[int, int]:
        """Height and width in pixels, checked; None is the denoiser's own."""
        ...


def forward(
    decoder: Pictures,
    condition: Condition,
    *,
    generators: Sequence[Generator],
    steps: int | None = None,
    guidance: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    size: int | Sequence[int] | None = None,
    rescale: float = 0.0,
    latents: Float[Tensor, "b c h w"] | None = None,
) -> list[Image]:
    """Decode b conditions into b images of `size` (height and width in pixels).

    `rescale` takes guidance back towards the contrast of the plain prediction (Lin et al., arXiv 2305.08891; 0.7).
    `latents` are the noise to begin with, drawn from `generators` where they are not given.
    """
    asked = pipelines.Asked(generators, steps, guidance, progress, latents)
    return made(decoder, condition, asked, size, {"guidance_rescale": checks.amount("rescale", rescale, most=1)})


def made(
    decoder: Pictures,
    condition: Condition,
    asked: pipelines.Asked,
    size: int | Sequence[int] | None,
    more: Mapping[str, Any],
) -> list[Image]:
    """The pipeline's images; `more` are keywords that not every pipeline of pictures takes."""
    height, width = decoder.size if size is None else decoder.sized(size)
    shape = spaces.latent_shape(pipelines.denoiser(decoder.models()), decoder.vae, (height, width))
    call = {"height": height, "width": width, "output_type": "pt", **more}
    images = pipelines.run(decoder, condition, asked, shape=shape, call=call).images
    return [Image(image) for image in spaces.pixels(images)]


def tensor(decoder: Pictures, media: Sequence[Image] | Tensor) -> Float[Tensor, "b 3 h w"]:
    """Images as the autoencoder reads them, in [-1, 1]; a tensor is taken to be that already."""
    return spaces.image_batch(media, decoder.size)
