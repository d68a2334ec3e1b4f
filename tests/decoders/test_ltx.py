from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from components import TINY
from diffusers import LTXPipeline

from anyx.decoders.flow import shifted
from anyx.decoders.ltx import LTXDecoder
from anyx.interfaces import Condition, Decoder, Reconstructs, TextTeacher
from anyx.media import Video

Seeds = Callable[..., list[torch.Generator]]
NAME = "prompt_embeds"
T5 = {"num_layers": 1, "num_heads": 2, "d_kv": 4, "d_ff": 16}
ROW = TINY["decoders"]["ltx"][0]  # 32 pixels, 9 frames, an autoencoder of 32 x 32 x 8
SHIFTED = {"use_dynamic_shifting": True, "base_image_seq_len": 1, "max_image_seq_len": 4, "shift_terminal": 0.1}
TAUGHT = ROW | {"text": T5, "tokenizer": {"words": ["cat", "dog", "a"], "length": 6}, "scheduler": SHIFTED}


@pytest.fixture
def clips() -> list[Video]:
    generator = torch.Generator().manual_seed(1)
    return [Video(torch.randint(0, 256, (9, 3, 40, 32), dtype=torch.uint8, generator=generator), 8.0) for _ in range(2)]


def test_it_is_what_the_interfaces_ask() -> None:
    decoder = LTXDecoder(**TAUGHT)
    assert isinstance(decoder, Decoder)
    assert isinstance(decoder, TextTeacher)
    assert isinstance(decoder, Reconstructs)
    assert decoder.condition == {NAME: (6, 12)}
    assert decoder.latent_shape == (2, 8)
    assert set(decoder.parts()) == {"vae", "denoiser", "text"}
    assert decoder.encode_text(["cat", "a dog cat dog cat dog"]).masks[NAME].sum(1).tolist() == [3, 6]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_it_equals_diffusers(own: bool, guidance: float, seeds: Seeds, tmp_path: Path) -> None:
    """A folder of ours, read by diffusers; from a caption by diffusers, from its encoding by us.

    `own`: of an autoencoder that takes the last step of denoising itself, and draws noise for it.
    """
    vae = ROW["vae"] | {"timestep_conditioning": own}
    teacher = LTXDecoder(**TAUGHT | {"vae": vae})
    theirs = LTXPipeline.from_pretrained(teacher.save(tmp_path))
    theirs.set_progress_bar_config(disable=True)
    decoder = LTXDecoder(path=str(tmp_path), size=32, frames=9, steps=3, guidance=guidance)
    assert decoder.condition == teacher.condition
    drawing = seeds(6)[0]
    noise = torch.randn(3, 8, generator=drawing)[None]
    call = {"num_inference_steps": 3, "latents": noise, "guidance_scale": guidance, "max_sequence_length": 6}
    call |= {"decode_timestep": 0.05, "decode_noise_scale": 0.025, "generator": drawing} if own else {}
    expected = theirs("a cat", height=32, width=32, num_frames=17, output_type="pt", **call).frames[0]
    ours = decoder(teacher.encode_text(["a cat"]), generators=seeds(6), frames=17)[0]
    assert ours.frames.shape == (17, 3, 32, 32)
    assert ours.fps == 25
    assert (ours.frames.float() - expected * 255).abs().max() < 0.51
    assert decoder.text.held == {}
    torch.testing.assert_close(decoder.encode_text(["a cat"]), teacher.encode_text(["a cat"]))
    torch.testing.assert_close(decoder.null_condition(), teacher.encode_text([""]))


def test_training_asks_what_decoding_does(seeds: Seeds) -> None:
    """One step of Euler without guidance from noise at s = 1: latents - velocity, decoded by the pipeline."""
    decoder = LTXDecoder(**ROW, fps=12.0)
    condition = Condition({NAME: torch.randn(1, 5, 12)}, {NAME: torch.tensor([[True] * 3 + [False] * 2])})
    clip = decoder(condition, generators=seeds(3), steps=1, guidance=1.0)[0]
    noise = torch.randn(decoder.latent_shape, generator=seeds(3)[0])[None]
    with torch.no_grad():
        latents = noise - decoder.predict(noise, torch.tensor([1000.0]), decoder.read(condition))
        pixels = decoder.vae.decode(latents.mT.unflatten(2, (2, 1, 1))).sample[0].transpose(0, 1)
    assert (clip.frames.float() - (pixels / 2 + 0.5).clamp(0, 1) * 255).abs().max() < 0.51


@pytest.mark.parametrize(("positions", "expected"), [(1024, 0.95), (4096, 2.05), (2560, 1.5)])
def test_levels_move_with_the_length_of_the_sequence(positions: int, expected: float) -> None:
    """The published scheduler: odds of noise are times e^m, m linear from 0.95 at 1024 positions to 2.05 at 4096."""
    moving = {"base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024, "max_image_seq_len": 4096}
    decoder = LTXDecoder(**ROW, scheduler=moving | {"use_dynamic_shifting": True})
    level = torch.rand(5)
    training = shifted(level, decoder._levels(positions).config.shift)
    torch.testing.assert_close((training / (1 - training) / (level / (1 - level))).log(), torch.full((5,), expected))
    torch.testing.assert_close(decoder.scheduler.time_shift(expected, 1.0, level), training)  # as decoding moves them
    assert LTXDecoder(**ROW)._levels(positions).config.shift == 3


def test_latents_are_a_sequence_of_unit_deviation(clips: list[Video]) -> None:
    decoder = LTXDecoder(**ROW)
    with torch.no_grad():
        decoder.vae.latents_mean.copy_(torch.linspace(-1, 1, 8))
        decoder.vae.latents_std.copy_(torch.linspace(1, 2, 8))
    latents = decoder.latents(clips)
    assert latents.shape == (2, *decoder.latent_shape)
    unpacked = LTXPipeline._unpack_latents(latents, 2, 1, 1)
    found = LTXPipeline._denormalize_latents(unpacked, decoder.vae.latents_mean, decoder.vae.latents_std, 1.0)
    with torch.no_grad():
        expected = decoder.vae.encode(decoder.tensor(clips).transpose(1, 2)).latent_dist.mode()
    torch.testing.assert_close(found, expected)
    assert decoder.fit_scaling(clips) == decoder.scaling_factor() != 1
    assert decoder.latents(clips).std() == pytest.approx(1, abs=1e-3)


def test_meta_reads_no_weights(tmp_path: Path) -> None:
    decoder = LTXDecoder(**TAUGHT)
    decoder.save(tmp_path)
    for file in tmp_path.rglob("*model*.safetensors"):
        file.unlink()
    with torch.device("meta"):
        shapes = LTXDecoder(path=str(tmp_path), size=32, frames=9, load_text=True)
    assert all(p.is_meta for p in shapes.parameters())
    assert {k: len(v) for k, v in shapes.parts().items()} == {k: len(v) for k, v in decoder.parts().items()}


def test_seeds_belong_to_items(seeds: Seeds, take: Callable[..., Condition]) -> None:
    decoder = LTXDecoder(**TAUGHT | {"vae": ROW["vae"] | {"timestep_conditioning": True}})
    condition = decoder.encode_text(["cat", "a dog", "a dog"])
    seen: list[tuple[int, int]] = []
    clips = decoder(condition, generators=seeds(7, 8, 9), steps=3, progress=lambda *s: seen.append(s))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert not torch.equal(clips[1].frames, clips[2].frames)
    alone = decoder(take(condition, 1), generators=seeds(8), steps=3)[0]
    assert (alone.frames.int() - clips[1].frames.int()).abs().max() <= 1


def test_masked_positions_say_nothing() -> None:
    decoder = LTXDecoder(**TAUGHT)
    condition = decoder.encode_text(["cat"])
    changed = {NAME: condition.values[NAME] + 5 * ~condition.masks[NAME][..., None]}
    noisy, step = torch.randn(1, *decoder.latent_shape), torch.tensor([500.0])
    first, same, other = (
        decoder.predict(noisy, step, decoder.read(c))
        for c in (condition, Condition(changed, condition.masks), Condition(changed, {}))
    )
    torch.testing.assert_close(first, same)
    assert not torch.allclose(first, other, atol=1e-4)


def test_round_trip_in_half_precision(seeds: Seeds, tmp_path: Path) -> None:
    decoder = LTXDecoder(**TAUGHT)
    path = str(decoder.save(tmp_path, torch.bfloat16))
    half = LTXDecoder(path=path, size=32, frames=9, steps=2, dtype="bfloat16")
    condition = decoder.encode_text(["cat"])
    frames = half(condition, generators=seeds(3))[0].frames
    assert (frames.float() - decoder(condition, generators=seeds(3))[0].frames.float()).abs().mean() < 3


@pytest.mark.parametrize("own", [False, True])
def test_it_learns(clips: list[Video], own: bool) -> None:
    decoder = LTXDecoder(**TAUGHT | {"vae": ROW["vae"] | {"timestep_conditioning": own}})
    latents, optimizer, losses = decoder.latents(clips), torch.optim.Adam(decoder.parameters(), 1e-2), []
    for _ in range(20):
        optimizer.zero_grad()
        condition = decoder.encode_text(["cat", "dog"])
        loss = decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2), drop=0.1)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    reconstruction, target, kl = decoder.reconstruct(clips)
    assert reconstruction.shape == target.shape == (18, 3, 32, 32)
    assert kl.ndim == 0


def test_mistakes_are_named(seeds: Seeds) -> None:
    with pytest.raises(ValueError, match=r"frames: 16 given; the autoencoder reads 8 k \+ 1 of them: 9 or 17"):
        LTXDecoder(**ROW | {"frames": 16})
    with pytest.raises(ValueError, match="frames: 0 given"):
        LTXDecoder(**ROW)(Condition({NAME: torch.zeros(1, 5, 12)}, {}), generators=seeds(1), frames=0)
    with pytest.raises(ValueError, match="each a multiple of 32"):
        LTXDecoder(**ROW | {"size": [32, 40]})
    with pytest.raises(ValueError, match="'layers' not in LTXVideoTransformer3DModel"):
        LTXDecoder(**ROW | {"transformer": {"layers": 2}})
