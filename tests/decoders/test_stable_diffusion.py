from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from anyx.compact import restored, shrunk
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.interfaces import Condition, Decoder, Reconstructs, TextTeacher
from anyx.media import Image

Seeds = Callable[..., list[torch.Generator]]


def test_it_is_what_the_interfaces_ask(tiny: dict[str, Any]) -> None:
    decoder = StableDiffusionDecoder(**tiny)
    assert isinstance(decoder, Decoder)
    assert isinstance(decoder, TextTeacher)
    assert isinstance(decoder, Reconstructs)
    assert decoder.condition == {"prompt_embeds": (6, 12)}
    assert decoder.size == (32, 32)
    assert set(decoder.parts()) == {"vae", "denoiser", "text"}


def test_captions_have_masks_of_real_positions(tiny: dict[str, Any]) -> None:
    condition = StableDiffusionDecoder(**tiny).encode_text(["Cat", "a dog cat dog cat dog cat"])
    assert condition.values["prompt_embeds"].shape == (2, 6, 12)
    assert condition.masks["prompt_embeds"].sum(1).tolist() == [3, 6]


def test_seeds_belong_to_items(tiny: dict[str, Any], seeds: Seeds, take: Callable[..., Condition]) -> None:
    decoder = StableDiffusionDecoder(**tiny)
    condition = decoder.encode_text(["cat", "dog", "dog"])
    seen: list[tuple[int, int]] = []
    images = decoder(condition, generators=seeds(7, 8, 9), steps=3, progress=lambda *s: seen.append(s))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert all(image.size == (32, 32) for image in images)
    assert not torch.equal(images[1].pixels, images[2].pixels)
    alone = decoder(take(condition, 1), generators=seeds(8), steps=3)[0]
    assert (alone.pixels.int() - images[1].pixels.int()).abs().max() <= 1  # rounding of batched matrix products
    with pytest.raises(ValueError, match="2 generators for 3"):
        decoder(condition, generators=seeds(1, 2))


@pytest.mark.parametrize("scheduler", ["ddim", "euler_ancestral", "pndm", {"type": "unipc", "solver_order": 1}])
def test_any_scheduler(tiny: dict[str, Any], seeds: Seeds, scheduler: Any) -> None:
    decoder = StableDiffusionDecoder(**tiny, scheduler=scheduler, steps=2, guidance=1.0)
    condition = decoder.encode_text(["cat"])
    first, again = (decoder(condition, generators=seeds(4))[0] for _ in range(2))
    assert torch.equal(first.pixels, again.pixels)


def test_round_trip_without_the_text_encoder(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    decoder = StableDiffusionDecoder(**tiny)
    decoder.fit_scaling(torch.randn(2, 3, 32, 32))
    condition = decoder.encode_text(["cat"])
    loaded = StableDiffusionDecoder(path=str(decoder.save(tmp_path / "full")))
    assert loaded.text.encoder is None
    assert loaded.condition == decoder.condition
    images = [d(condition, generators=seeds(3), steps=2)[0].pixels for d in (decoder, loaded)]
    assert torch.equal(*images)
    assert loaded.text.encoder is None
    torch.testing.assert_close(loaded.encode_text(["cat"]).values, condition.values)
    half = StableDiffusionDecoder(path=str(loaded.save(tmp_path / "half", torch.bfloat16)), dtype="bfloat16")
    assert half.unet.dtype == half.null_condition().values["prompt_embeds"].dtype == torch.bfloat16
    assert (half(condition, generators=seeds(3), steps=2)[0].pixels.float() - images[0]).abs().mean() < 3
    assert StableDiffusionDecoder(path=str(tmp_path / "half")).unet.dtype == torch.float32
    assert not any(str(tmp_path) in file.read_text() for file in (tmp_path / "half").rglob("*.json"))  # no one's paths


def test_a_folder_of_a_byte_a_weight_is_read_back(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    """As whoever rounds the weights himself would have it."""
    decoder = StableDiffusionDecoder(**tiny)
    small, full = (decoder.save(tmp_path / name, dtype) for name, dtype in (("small", torch.int8), ("full", None)))
    sizes = [sum(file.stat().st_size for file in folder.rglob("*.safetensors")) for folder in (small, full)]
    assert sizes[0] < 0.5 * sizes[1]  # matrices so tiny have many scales, and names
    loaded = StableDiffusionDecoder(path=str(small), load_text=True)
    for name, model in (("unet", loaded.unet), ("vae", loaded.vae), ("text_encoder", loaded.text.encoder)):
        (file,) = (full / name).glob("*.safetensors")
        kept = restored(shrunk(load_file(file), levels=127))
        state = model.state_dict()
        assert all(torch.equal(state[key], tensor) for key, tensor in kept.items())
    condition = decoder.encode_text(["cat"])
    images = [d(condition, generators=seeds(3), steps=2)[0].pixels.float() for d in (decoder, loaded)]
    assert 0 < (images[0] - images[1]).abs().mean() < 3
    with torch.device("meta"):
        assert StableDiffusionDecoder(path=str(small)).unet.config == loaded.unet.config


def test_it_equals_diffusers_on_a_published_layout(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    """A folder that diffusers wrote, decoded from captions by diffusers and from their encodings by us."""
    StableDiffusionDecoder(**tiny).save(tmp_path / "ours")
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "ours")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "theirs")
    decoder = StableDiffusionDecoder(path=str(tmp_path / "theirs"))
    assert decoder.condition == {"prompt_embeds": (6, 12)}
    assert decoder.text.encoder is None
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    theirs = pipeline("a cat", num_inference_steps=3, latents=noise, output_type="pt").images[0]
    ours = decoder(decoder.encode_text(["a cat"]), generators=seeds(6), steps=3)[0]
    assert (ours.pixels.float() - theirs * 255).abs().max() < 0.51


def test_null_condition_is_computed_once_and_the_encoder_dropped(tiny: dict[str, Any], tmp_path: Path) -> None:
    decoder = StableDiffusionDecoder(**tiny)
    expected = decoder.encode_text([""]).values["prompt_embeds"]
    decoder.save(tmp_path)
    (tmp_path / "null_condition.safetensors").unlink()
    loaded = StableDiffusionDecoder(path=str(tmp_path))
    torch.testing.assert_close(loaded.null_condition().values["prompt_embeds"], expected)
    assert loaded.text.encoder is None
    bare = StableDiffusionDecoder(**{**tiny, "text": None, "tokenizer": None}, length=5)
    assert bare.null_condition().values["prompt_embeds"].shape == (1, 5, 12)
    with pytest.raises(ValueError, match="no text encoder"):
        bare.encode_text(["cat"])


def test_gradient_reaches_condition_and_parts(tiny: dict[str, Any], images: list[Image]) -> None:
    decoder = StableDiffusionDecoder(**tiny, min_snr=5.0)
    condition = Condition({"prompt_embeds": torch.randn(3, 6, 12, requires_grad=True)}, {})
    decoder.loss(condition, images).backward()
    assert condition.values["prompt_embeds"].grad.abs().sum() > 0
    assert all(p.grad is None for p in decoder.parts()["vae"])
    reconstruction, target, kl = decoder.reconstruct(images)
    assert reconstruction.shape == target.shape == (3, 3, 32, 32)
    (torch.nn.functional.mse_loss(reconstruction, target) + kl).backward()
    assert all(p.grad is not None for p in decoder.parts()["vae"])


def test_it_learns(tiny: dict[str, Any], images: list[Image]) -> None:
    decoder = StableDiffusionDecoder(**tiny, scheduler={"prediction_type": "v_prediction"})
    assert decoder.fit_scaling(images) == decoder.vae.config.scaling_factor
    assert decoder.latents(images).std() == pytest.approx(1, abs=1e-3)
    latents, optimizer = decoder.latents(images), torch.optim.Adam(decoder.parameters(), 1e-2)

    def loss() -> torch.Tensor:
        condition = decoder.encode_text(["cat", "dog", "cat dog"])
        return decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2), drop=0.1)

    before = loss().item()
    for _ in range(20):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.8 * before
    assert decoder.text.encoder.get_input_embeddings().weight.grad.abs().sum() > 0


def test_meta_reads_no_weights(tiny: dict[str, Any], tmp_path: Path) -> None:
    StableDiffusionDecoder(**tiny).save(tmp_path)
    for file in tmp_path.rglob("diffusion_pytorch_model.safetensors"):
        file.unlink()
    with torch.device("meta"):
        assert all(p.is_meta for p in StableDiffusionDecoder(path=str(tmp_path), load_text=True).parameters())


def test_mistakes_are_named(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'sampl_size' not in UNet2DConditionModel"):
        StableDiffusionDecoder(**{**tiny, "unet": {"sampl_size": 4}})
    with pytest.raises(ValueError, match="vae: no `path` is given"):
        StableDiffusionDecoder(**{**tiny, "vae": None})
    with pytest.raises(ValueError, match="hidden_size is 8"):
        StableDiffusionDecoder(**{**tiny, "text": {**tiny["text"], "hidden_size": 8}})
    with pytest.raises(ValueError, match="'fp8' is not one of"):
        StableDiffusionDecoder(**tiny, dtype="fp8")
    with pytest.raises(ValueError, match="multiple of 8"):
        StableDiffusionDecoder(**tiny, size=20)


def test_a_null_condition_made_while_decoding_serves_training(
    tiny: dict[str, Any], images: list[Image], seeds: Seeds, tmp_path: Path
) -> None:
    path = StableDiffusionDecoder(**tiny).save(tmp_path)
    (path / "null_condition.safetensors").unlink()
    decoder = StableDiffusionDecoder(path=str(path), steps=1)
    condition = Condition({"prompt_embeds": torch.randn(3, 6, 12, requires_grad=True)}, {})
    assert decoder(condition, generators=seeds(1, 2, 3))[0].pixels.dtype == torch.uint8
    decoder.loss(condition, images, drop=0.5).backward()
    assert not decoder.encode_text(["cat"]).values["prompt_embeds"].is_inference()
