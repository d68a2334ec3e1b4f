from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from diffusers import StableDiffusion3Pipeline

from anyx.decoders.stable_diffusion_3 import POOLED, StableDiffusion3Decoder
from anyx.media import Image

Seeds = Callable[..., list[torch.Generator]]


@pytest.fixture
def taught() -> dict[str, Any]:
    """16 pixels, conditions (5 + 4, 24) and (1, 12), with three text encoders."""
    torch.manual_seed(0)
    return TINY["decoders"]["stable_diffusion_3"][1]


def test_it_equals_diffusers_on_a_published_layout(taught: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    """A folder that diffusers wrote, decoded from a caption by diffusers and from its encoding by us."""
    StableDiffusion3Decoder(**taught).save(tmp_path / "ours")
    pipeline = StableDiffusion3Pipeline.from_pretrained(tmp_path / "ours")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "theirs")
    decoder = StableDiffusion3Decoder(path=str(tmp_path / "theirs"), t5_length=4)
    assert decoder.condition == {"prompt_embeds": (9, 24), POOLED: (1, 12)}
    assert StableDiffusion3Decoder(path=str(tmp_path / "theirs")).condition["prompt_embeds"] == (5 + 256, 24)
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    call = {"num_inference_steps": 3, "latents": noise, "output_type": "pt", "height": 16, "width": 16}
    theirs = pipeline("red cow", guidance_scale=7.0, max_sequence_length=4, **call).images[0]
    condition = decoder.encode_text(["red cow"])
    ours = decoder(condition, generators=seeds(6), steps=3)[0]
    assert (ours.pixels.float() - theirs * 255).abs().max() < 0.51
    decoder.text.release()
    again = StableDiffusion3Decoder(path=str(decoder.save(tmp_path / "cached")))
    assert again.condition == decoder.condition, "the cached null condition says how long it is"
    assert torch.equal(again(condition, generators=seeds(6), steps=3)[0].pixels, ours.pixels)
    assert not again.text.held


def test_without_t5_its_states_are_zeros(taught: dict[str, Any]) -> None:
    text = {name: config for name, config in taught["text"].items() if name != "text_encoder_3"}
    told = StableDiffusion3Decoder(**taught | {"text": text}).encode_text(["red cow"])
    states = told.values["prompt_embeds"]
    assert states[:, :5].any()
    assert not states[:, 5:].any()
    assert told.masks["prompt_embeds"].tolist() == [[True] * 4 + [False] * 5]


def test_it_learns_and_says_a_velocity(taught: dict[str, Any]) -> None:
    decoder = StableDiffusion3Decoder(**taught)
    images = [Image(torch.full((3, 16, 16), shade, dtype=torch.uint8)) for shade in (40, 200)]
    decoder.fit_scaling(images)
    latents, optimizer, losses = decoder.latents(images), torch.optim.Adam(decoder.transformer.parameters(), 1e-2), []
    condition = decoder.encode_text(["red", "cow"])
    condition = condition._replace(values={name: value.detach() for name, value in condition.values.items()})
    for _ in range(20):
        optimizer.zero_grad()
        loss = decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2), drop=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_latents_are_shifted_and_scaled(taught: dict[str, Any]) -> None:
    decoder = StableDiffusion3Decoder(**taught)
    picture, before = torch.rand(1, 3, 16, 16), decoder.latents(torch.zeros(1, 3, 16, 16))
    plain = decoder.latents(picture)
    decoder.vae.register_to_config(shift_factor=0.5, scaling_factor=2 * decoder.scaling_factor())
    wanted = 2 * (plain - 0.5 * decoder.scaling_factor() / 2)
    torch.testing.assert_close(decoder.latents(picture), wanted)
    assert before.shape == plain.shape


def test_size_is_a_multiple_of_the_patches(taught: dict[str, Any], seeds: Seeds) -> None:
    decoder = StableDiffusion3Decoder(**taught)
    assert decoder(decoder.null_condition(), generators=seeds(1), size=[24, 16])[0].size == (24, 16)
    with pytest.raises(ValueError, match="each a multiple of"):
        decoder(decoder.null_condition(), generators=seeds(1), size=[18, 16])


def test_text_encoders_that_it_has_not_are_named(taught: dict[str, Any]) -> None:
    for text in ({"text_encoder": {}}, taught["text"] | {"text_encoder_4": {}}):
        with pytest.raises(ValueError, match=r"it has text_encoder, .*, where text_encoder_3 may be missing"):
            StableDiffusion3Decoder(**taught | {"text": text})
