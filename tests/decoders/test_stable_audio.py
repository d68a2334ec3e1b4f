from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from components import TINY
from diffusers import StableAudioPipeline

from anyx.decoders import residence
from anyx.decoders.stable_audio import StableAudioDecoder
from anyx.interfaces import Condition, Decoder, Reconstructs, TextTeacher
from anyx.media import Audio

Seeds = Callable[..., list[torch.Generator]]
NAME = "prompt_embeds"
T5 = {"num_layers": 1, "num_heads": 2, "d_kv": 4, "d_ff": 16}
ROW = {
    k: v for k, v in TINY["decoders"]["stable_audio"][0].items() if k != "steps"
}  # 16 latent frames of 8 samples at 400 Hz: 0.32 s
TAUGHT = ROW | {"text": T5, "tokenizer": {"words": ["cat", "dog", "a"], "length": 6}}


@pytest.fixture
def sounds() -> list[Audio]:
    generator = torch.Generator().manual_seed(1)
    return [Audio(0.1 * torch.randn(c, n, generator=generator), rate) for c, n, rate in ((1, 90, 400), (2, 400, 800))]


def test_it_is_what_the_interfaces_ask() -> None:
    decoder = StableAudioDecoder(**TAUGHT)
    assert isinstance(decoder, Decoder)
    assert isinstance(decoder, TextTeacher)
    assert isinstance(decoder, Reconstructs)
    assert decoder.condition == {NAME: (6, 12)}
    assert decoder.seconds == pytest.approx(0.32)
    assert set(decoder.parts()) == {"vae", "denoiser", "text"}
    null = decoder.null_condition()
    assert not null.values[NAME].any()
    assert not null.masks[NAME].any()


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_it_equals_diffusers(guidance: float, seeds: Seeds, tmp_path: Path) -> None:
    """A folder of ours, read by diffusers; from a caption by diffusers, from its encoding by us."""
    teacher = StableAudioDecoder(**TAUGHT, scheduler="edm")
    theirs = StableAudioPipeline.from_pretrained(teacher.save(tmp_path))
    theirs.set_progress_bar_config(disable=True)
    decoder = StableAudioDecoder(path=str(tmp_path), steps=3, guidance=guidance)
    assert decoder.condition == teacher.condition
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    call = {"num_inference_steps": 3, "latents": noise, "guidance_scale": guidance, "audio_end_in_s": 0.2}
    expected = theirs("a cat", **call).audios[0]
    ours = decoder(teacher.encode_text(["a cat"]), generators=seeds(6), seconds=0.2)[0]
    assert ours.samples.shape == (2, 80)
    assert ours.rate == 400
    torch.testing.assert_close(ours.samples, expected.clamp(-1, 1), atol=1e-5, rtol=0)
    assert decoder.text.held == {}
    torch.testing.assert_close(decoder.encode_text(["a cat"]), teacher.encode_text(["a cat"]))


def test_the_null_condition_is_what_the_pipeline_guides_away_from(seeds: Seeds) -> None:
    """Zeros for the caption and for the two ends alike; the transformer still knows the length as a whole."""
    decoder = StableAudioDecoder(**TAUGHT)
    condition, null = decoder.encode_text(["cat"]), decoder.null_condition()
    noisy, level = torch.randn(1, *decoder.latent_shape), torch.tensor([0.5])
    said, unsaid = (decoder.predict(noisy, level, decoder.read(c)) for c in (condition, null))
    span = decoder.projection_model(start_seconds=torch.zeros(1), end_seconds=torch.tensor([decoder.seconds]))
    ends = torch.cat([span.seconds_start_hidden_states, span.seconds_end_hidden_states], dim=2)
    zeros = torch.zeros(1, 8, ROW["projection"]["conditioning_dim"])
    direct = decoder.transformer(
        noisy, level, encoder_hidden_states=zeros, global_hidden_states=ends, rotary_embedding=decoder._positions(noisy)
    ).sample
    torch.testing.assert_close(unsaid, direct)
    assert not torch.allclose(said, unsaid, atol=1e-4)


def test_its_own_schedule_survives_the_folder(seeds: Seeds, tmp_path: Path) -> None:
    decoder = StableAudioDecoder(**TAUGHT, steps=3)
    path = decoder.save(tmp_path)
    assert "CosineDPMSolverMultistepScheduler" in (path / "model_index.json").read_text()
    loaded = StableAudioDecoder(path=str(path), steps=3)
    condition = decoder.encode_text(["cat"])
    own, again = (d(condition, generators=seeds(3))[0].samples for d in (decoder, loaded))
    torch.testing.assert_close(own, again, atol=1e-5, rtol=0)
    other = StableAudioDecoder(path=str(path), steps=3, scheduler="edm")(condition, generators=seeds(3))[0].samples
    assert not torch.allclose(own, other, atol=1e-3)  # the same steps, told other noise levels


def test_meta_reads_no_weights(tmp_path: Path) -> None:
    decoder = StableAudioDecoder(**TAUGHT)
    decoder.save(tmp_path)
    for file in tmp_path.rglob("*model*.safetensors"):
        file.unlink()
    with torch.device("meta"):
        shapes = StableAudioDecoder(path=str(tmp_path), load_text=True)
    assert all(p.is_meta for p in shapes.parameters())
    assert {k: len(v) for k, v in shapes.parts().items()} == {k: len(v) for k, v in decoder.parts().items()}


def test_seeds_belong_to_items(seeds: Seeds, take: Callable[..., Condition]) -> None:
    decoder = StableAudioDecoder(**TAUGHT)
    condition = decoder.encode_text(["cat", "a dog", "a dog"])
    seen: list[tuple[int, int]] = []
    sounds = decoder(condition, generators=seeds(7, 8, 9), steps=3, progress=lambda *s: seen.append(s))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not torch.allclose(sounds[1].samples, sounds[2].samples, atol=1e-3)
    alone = decoder(take(condition, 1), generators=seeds(8), steps=3)[0]
    torch.testing.assert_close(alone.samples, sounds[1].samples, atol=1e-4, rtol=0)


def test_masked_positions_say_nothing(seeds: Seeds) -> None:
    decoder = StableAudioDecoder(**TAUGHT, steps=2)
    condition = decoder.encode_text(["cat"])
    changed = {NAME: condition.values[NAME] + 5 * ~condition.masks[NAME][..., None]}
    first, same, other = (
        decoder(c, generators=seeds(3))[0].samples
        for c in (condition, Condition(changed, condition.masks), Condition(changed, {}))
    )
    torch.testing.assert_close(first, same, atol=1e-5, rtol=0)
    assert not torch.allclose(first, other, atol=1e-3)


def test_sounds_are_cut_and_padded_and_told_their_length(sounds: list[Audio]) -> None:
    decoder = StableAudioDecoder(**ROW)
    tensor = decoder.tensor(sounds)
    assert tensor.shape == (2, 2, 128)
    assert torch.equal(tensor[0, 0], tensor[0, 1])
    assert not tensor[0, :, 90:].any()
    condition = Condition({NAME: torch.randn(2, 5, 12)}, {})
    latents, told = decoder.latents(sounds), torch.tensor([0.225, 0.32])  # 90 / 400; 400 / 800, cut to 128 / 400
    losses = [
        decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(0), seconds=seconds)
        for seconds in (told, torch.tensor([0.225, 9.0]), None)
    ]
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])
    torch.manual_seed(5)
    by_media = decoder.loss(condition, sounds)
    torch.manual_seed(5)
    assert torch.equal(by_media, decoder.denoising_loss(condition, latents, seconds=told))


def test_it_learns(sounds: list[Audio]) -> None:
    decoder = StableAudioDecoder(**TAUGHT)
    latents = decoder.latents(sounds)
    optimizer, losses = torch.optim.Adam([p for p in decoder.parameters() if p.requires_grad], 1e-2), []
    for _ in range(20):
        optimizer.zero_grad()
        condition = decoder.encode_text(["cat", "dog"])
        loss = decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2), drop=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    reconstruction, target, kl = decoder.reconstruct(sounds)
    assert reconstruction.shape == target.shape == (2, 2, 128)
    assert kl.ndim == 0


def test_weights_that_wait_leave_nothing_where_they_were_lent() -> None:
    """Weight norm keeps what it computes of its parameters as an attribute, which is neither of them nor a buffer."""
    decoder = StableAudioDecoder(**ROW, offload="model")
    with residence.lent([decoder.vae], torch.device("meta")), torch.no_grad():
        decoder.vae.decode(torch.zeros(1, *decoder.latent_shape, device="meta"))
    held = [x for module in decoder.vae.modules() for x in vars(module).values() if isinstance(x, torch.Tensor)]
    assert held
    assert all(x.device.type == "cpu" for x in [*held, *decoder.parameters()])


@pytest.mark.parametrize("seconds", [0.0, 0.4])
def test_a_length_that_it_cannot_make_is_refused(seconds: float, seeds: Seeds) -> None:
    with pytest.raises(ValueError, match=r"it is from 0\.0025 to 0\.32"):
        StableAudioDecoder(**ROW, seconds=seconds)
    with pytest.raises(ValueError, match=r"it is from 0\.0025 to 0\.32"):
        StableAudioDecoder(**ROW)(Condition({NAME: torch.zeros(1, 5, 12)}, {}), generators=seeds(1), seconds=seconds)
