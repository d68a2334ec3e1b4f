"""Tools that make pictures: any image decoder of the house from words, and diffusers' pipelines that change a picture.

Both are seeded, in sizes that are bounded, and stop between two denoising steps when nobody waits any more.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import torch

from anyx.agents.interfaces import Result
from anyx.agents.tools import stopping
from anyx.interfaces import TextTeacher
from anyx.media import Image
from anyx.registry import resolve
from anyx.watching import Watch

LARGEST = 1024  # pixels of a side that an editor works on


def generating(
    *,
    path: str,
    decoder: str = "stable_diffusion",
    steps: int = 20,
    guidance: float = 7.5,
    size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Callable[..., Result]:
    """An image decoder of the registry that has a text encoder, from a diffusers folder; `seed` is the first call's."""
    made: Any = resolve("decoders", decoder)
    if not issubclass(made, TextTeacher):
        raise ValueError(f"tools: a decoder of type {decoder!r} reads no words")
    painter: Any = made(path=path, size=size, steps=steps, guidance=guidance, load_text=True).to(device).eval()
    numbers = random.Random(seed)

    def draw(prompt: Annotated[str, "what the picture shows"], watch: Watch) -> Result:
        """Draw a picture from a description."""
        with torch.inference_mode():
            condition = painter.encode_text([prompt])
            drawing = torch.Generator().manual_seed(numbers.getrandbits(32))
            (found,) = painter(condition, generators=[drawing], progress=lambda done, total: stopping(watch))
        return Result("a picture was drawn", (found,))

    return draw


def editing(
    *,
    path: str,
    steps: int = 20,
    guidance: float = 7.5,
    image_guidance: float = 1.5,
    strength: float = 0.75,
    seed: int = 0,
    device: str = "cpu",
) -> Callable[..., Result]:
    """InstructPix2Pix where the folder is one, else image-to-image with the pipeline that is there.

    `image_guidance` is of the former, `strength` (0: as it was, 1: anew) of the latter.
    """
    from diffusers import AutoPipelineForImage2Image, DiffusionPipeline, StableDiffusionInstructPix2PixPipeline

    if not (Path(path) / "model_index.json").is_file():
        raise ValueError(f"tools: {path!r} is no folder of a diffusers pipeline: it has no model_index.json")
    config = DiffusionPipeline.load_config(path)
    instructs = config["_class_name"] == "StableDiffusionInstructPix2PixPipeline"
    kind: Any = StableDiffusionInstructPix2PixPipeline if instructs else AutoPipelineForImage2Image
    pipeline = kind.from_pretrained(path, use_safetensors=True, local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    factor, numbers = pipeline.vae_scale_factor * 8, random.Random(seed)
    how = {"image_guidance_scale": image_guidance} if instructs else {"strength": strength}

    def edit(image: Image, prompt: Annotated[str, "how to change it"], watch: Watch) -> Result:
        """Change a picture as the words say."""
        before = fitting(image, factor)

        def look(_pipeline: Any, _step: int, _time: Any, kept: dict[str, Any]) -> dict[str, Any]:
            stopping(watch)
            return kept

        with torch.inference_mode():
            after = pipeline(
                prompt=prompt,
                image=before.to_pil(),
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=torch.Generator().manual_seed(numbers.getrandbits(32)),
                callback_on_step_end=look,
                **how,
            ).images[0]
        return Result("the picture was changed", (Image.read(after).resize(*image.size),))

    return edit


def fitting(image: Image, factor: int) -> Image:
    """The picture in a size the pipeline takes: sides that `factor` divides, none over `LARGEST`."""
    scale = min(1.0, LARGEST / max(image.size))
    height, width = (max(factor, round(side * scale / factor) * factor) for side in image.size)
    return image.resize(height, width)
