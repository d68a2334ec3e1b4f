from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AudioLDMPipeline
from transformers import SpeechT5HifiGan, SpeechT5HifiGanConfig

from anyx.decoders.audioldm import AudioLDMDecoder
from anyx.interfaces import Condition, Decoder, Reconstructs, TextTeacher
from anyx.media import Audio

Seeds = Callable[..., list[torch.Generator]]


@pytest.fixture
def tiny(tiny: dict[str, Any]) -> dict[str, Any]:
    """An AudioLDM of 0.4 s, 16 mel bins, autoencoder f4, conditions (1, 10)."""
    unet = tiny["unet"] | {
        "cross_attention_dim": [8, 16],
        "class_embed_type": "simple_projection",
        "projection_class_embeddings_input_dim": 10,
        "class_embeddings_concat": True,
    }
    vae = tiny["vae"] | {
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": [8, 8, 8],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
    }
    vocoder = {"bins": 16, "hop": 160, "fft": 512, "iterations": 4}
    text = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return tiny | {"unet": unet, "vae": vae, "text": text, "vocoder": vocoder, "seconds": 0.4}


@pytest.fixture
def sounds() -> list[Audio]:
    generator = torch.Generator().manual_seed(1)
    return [Audio(0.1 * torch.randn(2, n, generator=generator), rate) for n, rate in ((9000, 22050), (3000, 16000))]


def test_it_is_what_the_interfaces_ask(tiny: dict[str, Any], seeds: Seeds) -> None:
    decoder = AudioLDMDecoder(**tiny)
    assert isinstance(decoder, Decoder)
    assert isinstance(decoder, TextTeacher)
    assert isinstance(decoder, Reconstructs)
    assert decoder.condition == {"prompt_embeds": (1, 10)}
    assert set(decoder.parts()) == {"vae", "denoiser", "text", "vocoder"}
    assert AudioLDMDecoder(**tiny | {"seconds": None}).seconds == pytest.approx(0.16)  # 4 latent rows of 4 frames


def test_captions_become_unit_vectors(tiny: dict[str, Any]) -> None:
    condition = AudioLDMDecoder(**tiny).encode_text(["cat", "a dog cat dog cat dog cat"])
    torch.testing.assert_close(condition.values["prompt_embeds"].norm(dim=-1), torch.ones(2, 1))
    assert condition.masks["prompt_embeds"].all()


def test_seeds_belong_to_items(tiny: dict[str, Any], seeds: Seeds, take: Callable[..., Condition]) -> None:
    decoder = AudioLDMDecoder(**tiny)
    condition = decoder.encode_text(["cat", "dog", "dog"])
    seen: list[tuple[int, int]] = []
    sounds = decoder(condition, generators=seeds(7, 8, 9), steps=3, progress=lambda *s: seen.append(s))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert all(sound.samples.shape == (1, 6400) and sound.rate == 16000 for sound in sounds)
    assert not torch.equal(sounds[1].samples, sounds[2].samples)
    alone = decoder(take(condition, 1), generators=seeds(8), steps=3)[0]
    torch.testing.assert_close(alone.samples, sounds[1].samples, atol=1e-4, rtol=0)


def test_conditions_are_normalised_at_inference(tiny: dict[str, Any], seeds: Seeds) -> None:
    value = torch.randn(1, 1, 10, generator=seeds(0)[0])
    for normalise in (True, False):
        decoder = AudioLDMDecoder(**tiny, normalise=normalise, steps=2)
        one, scaled = (decoder(Condition({"prompt_embeds": v}, {}), generators=seeds(3))[0] for v in (value, 5 * value))
        assert torch.allclose(one.samples, scaled.samples, atol=1e-4) is normalise


def test_round_trip_without_the_text_encoder(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    decoder = AudioLDMDecoder(**tiny, steps=2)
    condition = decoder.encode_text(["cat"])
    loaded = AudioLDMDecoder(path=str(decoder.save(tmp_path / "full")), seconds=0.4, steps=2)
    assert loaded.vocoder.settings == decoder.vocoder.settings
    assert torch.equal(*(d(condition, generators=seeds(3))[0].samples for d in (decoder, loaded)))
    assert loaded.text.encoder is None
    torch.testing.assert_close(loaded.encode_text(["cat"]).values, condition.values)
    path = str(loaded.save(tmp_path / "half", torch.bfloat16))
    half = AudioLDMDecoder(path=path, dtype="bfloat16", vocoder={"iterations": 2}, seconds=0.4, steps=2)
    assert half.unet.dtype == torch.bfloat16
    assert half.vocoder.iterations == 2
    assert half(condition, generators=seeds(3))[0].samples.isfinite().all()


def test_it_equals_diffusers_on_a_published_layout(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    """A folder that diffusers wrote, with a neural vocoder, decoded from a caption by diffusers and by us."""
    ours = AudioLDMDecoder(**tiny)
    config = SpeechT5HifiGanConfig(
        model_in_dim=16,
        sampling_rate=16000,
        upsample_initial_channel=8,
        upsample_rates=[10, 16],
        upsample_kernel_sizes=[20, 32],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1, 3]],
        normalize_before=False,
    )
    pipeline = AudioLDMPipeline(
        ours.vae, ours.text.encoder, ours.text.tokenizers["encoder"], ours.unet, ours.scheduler, SpeechT5HifiGan(config)
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path)
    decoder = AudioLDMDecoder(path=str(tmp_path), seconds=0.4)
    assert decoder.text.encoder is None
    assert decoder.mel(torch.zeros(1, 1600)).shape == (1, 10, 16)
    assert len(decoder.parts()["vocoder"]) > 0
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    negative = decoder.null_condition().values["prompt_embeds"][:, 0]
    call = {"num_inference_steps": 3, "latents": noise, "audio_length_in_s": 0.4, "guidance_scale": 2.5}
    embeds = decoder.encode_text(["a cat"])
    theirs = pipeline(prompt_embeds=embeds.values["prompt_embeds"][:, 0], negative_prompt_embeds=negative, **call)
    samples = decoder(embeds, generators=seeds(6), steps=3)[0].samples
    torch.testing.assert_close(samples, torch.tensor(theirs.audios).clamp(-1, 1), atol=1e-5, rtol=0)
    unguided = call | {"guidance_scale": 1.0}
    plain = decoder(embeds, generators=seeds(6), steps=3, guidance=1.0)[0].samples
    torch.testing.assert_close(plain, torch.tensor(pipeline("a cat", **unguided).audios), atol=1e-5, rtol=0)


def test_gradient_reaches_condition_and_parts(tiny: dict[str, Any], sounds: list[Audio]) -> None:
    decoder = AudioLDMDecoder(**tiny)
    condition = Condition({"prompt_embeds": torch.randn(2, 1, 10, requires_grad=True)}, {})
    assert decoder.tensor(sounds).shape == (2, 1, 40, 16)
    decoder.loss(condition, sounds).backward()
    assert condition.values["prompt_embeds"].grad.abs().sum() > 0
    reconstruction, target, kl = decoder.reconstruct(sounds)
    assert reconstruction.shape == target.shape == (2, 1, 40, 16)
    assert kl.ndim == 0


def test_it_learns(tiny: dict[str, Any], sounds: list[Audio]) -> None:
    decoder = AudioLDMDecoder(**tiny, scheduler={"prediction_type": "sample"})
    decoder.fit_scaling(sounds)
    latents, optimizer = decoder.latents(sounds), torch.optim.Adam(decoder.parameters(), 1e-2)
    assert latents.std() == pytest.approx(1, abs=1e-3)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        condition = decoder.encode_text(["cat", "dog"])
        loss = decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2), drop=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_length_and_noise_are_arguments(tiny: dict[str, Any], seeds: Seeds) -> None:
    decoder = AudioLDMDecoder(**tiny, steps=2)
    null = decoder.null_condition()
    assert decoder(null, generators=seeds(1), seconds=0.2)[0].samples.shape == (1, 3200)
    noise = torch.randn(decoder.latent_shape, generator=seeds(1)[0])[None]
    drawn, given = (decoder(null, generators=seeds(1), latents=x)[0].samples for x in (None, noise))
    assert torch.equal(drawn, given)
    with pytest.raises(ValueError, match=r"seconds: 0\.0 given; it is 0\.\d+ or more"):
        decoder(null, generators=seeds(1), seconds=0.0)


def test_a_unet_of_another_family_is_refused(tiny: dict[str, Any]) -> None:
    unet = {k: v for k, v in tiny["unet"].items() if k != "class_embed_type"}
    with pytest.raises(ValueError, match="simple_projection"):
        AudioLDMDecoder(**tiny | {"unet": unet})
