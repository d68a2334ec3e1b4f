from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from diffusers import StableDiffusionXLPipeline

from anyx.decoders.stable_diffusion_xl import POOLED, StableDiffusionXLDecoder
from anyx.media import Image

Seeds = Callable[..., list[torch.Generator]]


@pytest.fixture
def taught() -> dict[str, Any]:
    """16 pixels, conditions (5, 20) and (1, 12), with text encoders of 8 and 12."""
    torch.manual_seed(0)
    return TINY["decoders"]["stable_diffusion_xl"][1]


@pytest.mark.parametrize("zeros", [True, False])
def test_it_equals_diffusers_on_a_published_layout(
    taught: dict[str, Any], seeds: Seeds, tmp_path: Path, zeros: bool
) -> None:
    """A folder that diffusers wrote, decoded from a caption by diffusers and from its encoding by us."""
    StableDiffusionXLDecoder(**taught, zero_null=zeros).save(tmp_path / "ours")
    pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path / "ours")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "theirs")
    decoder = StableDiffusionXLDecoder(path=str(tmp_path / "theirs"))
    assert decoder.condition == {"prompt_embeds": (5, 20), POOLED: (1, 12)}
    assert all(bool(value.any()) != zeros for value in decoder.null_condition().values.values())
    assert not decoder.text.held
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    call = {"num_inference_steps": 3, "latents": noise, "output_type": "pt", "height": 16, "width": 16}
    theirs = pipeline("red cow", guidance_scale=5.0, **call).images[0]
    condition = decoder.encode_text(["red cow"])
    ours = decoder(condition, generators=seeds(6), steps=3)[0]
    assert (ours.pixels.float() - theirs * 255).abs().max() < 0.51


def test_training_tells_the_unet_what_the_pipeline_tells_it(taught: dict[str, Any], seeds: Seeds) -> None:
    decoder = StableDiffusionXLDecoder(**taught)
    condition, told = decoder.encode_text(["cow"]), []
    decoder.unet.register_forward_pre_hook(lambda _, given, named: told.append(named), with_kwargs=True)
    decoder(condition, generators=seeds(1), steps=1, guidance=1.0, size=[24, 16])
    decoder.predict(torch.zeros(1, 4, 12, 8), torch.tensor([5]), decoder.read(condition))
    (one, two) = (named["added_cond_kwargs"] for named in told)
    assert one["time_ids"].tolist() == two["time_ids"].tolist() == [[24, 16, 0, 0, 24, 16]]
    torch.testing.assert_close(one["text_embeds"], two["text_embeds"])


def test_size_is_an_argument(taught: dict[str, Any], seeds: Seeds) -> None:
    decoder = StableDiffusionXLDecoder(**taught)
    made = decoder(decoder.null_condition(), generators=seeds(1), size=[24, 16], rescale=0.7)
    assert isinstance(made[0], Image)
    assert made[0].size == (24, 16)


def test_mistakes_are_named(taught: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="addition_embed_type 'text_time'"):
        StableDiffusionXLDecoder(**taught | {"unet": TINY["decoders"]["stable_diffusion"][0]["unet"]})
    with pytest.raises(ValueError, match="it has text_encoder, text_encoder_2"):
        StableDiffusionXLDecoder(**taught | {"text": {"text_encoder": {}}})
    text = {name: config | {"hidden_size": 8} for name, config in taught["text"].items()}
    with pytest.raises(ValueError, match=r"hidden_size is 8 \+ 8, but the denoiser reads 20"):
        StableDiffusionXLDecoder(**taught | {"text": text})
