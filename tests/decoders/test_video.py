from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AnimateDiffPipeline, TextToVideoSDPipeline

from anyx.decoders import pipelines
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.decoders.video import VideoDecoder
from anyx.interfaces import Condition, Decoder, Reconstructs, TextTeacher
from anyx.media import Video

Seeds = Callable[..., list[torch.Generator]]
MOTION = {"motion_num_attention_heads": 2}


@pytest.fixture(params=["animate", "text_to_video"])
def tiny_video(tiny: dict[str, Any], request: pytest.FixtureRequest) -> dict[str, Any]:
    """Either family, 32 pixels, 3 frames."""
    both = tiny | {"frames": 3, "fps": 6.0}
    if request.param == "animate":
        return both | {"motion_adapter": MOTION}
    blocks = {
        "down_block_types": ["CrossAttnDownBlock3D", "DownBlock3D"],
        "up_block_types": ["UpBlock3D", "CrossAttnUpBlock3D"],
    }
    return both | {"unet": tiny["unet"] | blocks}


@pytest.fixture
def clips() -> list[Video]:
    generator = torch.Generator().manual_seed(1)
    return [Video(torch.randint(0, 256, (5, 3, 40, 32), dtype=torch.uint8, generator=generator), 8.0) for _ in range(2)]


def test_seeds_belong_to_items(tiny_video: dict[str, Any], seeds: Seeds, take: Callable[..., Condition]) -> None:
    decoder = VideoDecoder(**tiny_video)
    assert isinstance(decoder, Decoder)
    assert isinstance(decoder, TextTeacher)
    assert isinstance(decoder, Reconstructs)
    condition = decoder.encode_text(["cat", "dog", "dog"])
    seen: list[tuple[int, int]] = []
    videos = decoder(condition, generators=seeds(7, 8, 9), steps=3, progress=lambda *s: seen.append(s))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert all(video.frames.shape == (3, 3, 32, 32) and video.fps == 6.0 for video in videos)
    assert not torch.equal(videos[1].frames, videos[2].frames)
    alone = decoder(take(condition, 1), generators=seeds(8), steps=3)[0]
    assert (alone.frames.int() - videos[1].frames.int()).abs().max() <= 1


def test_size_and_frames_are_arguments(tiny_video: dict[str, Any], seeds: Seeds) -> None:
    decoder = VideoDecoder(**tiny_video, steps=1)
    clip = decoder(decoder.null_condition(), generators=seeds(1), size=[48, 32], frames=2)[0]
    assert clip.frames.shape == (2, 3, 48, 32)
    with pytest.raises(ValueError, match="frames: 0 given; it is a whole number, 1 or more"):
        decoder(decoder.null_condition(), generators=seeds(1), frames=0)


def test_round_trip_and_diffusers(tiny_video: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    """Our folder, read by diffusers, written by diffusers, read by us: the same from captions and encodings."""
    decoder = VideoDecoder(**tiny_video, steps=3)
    family = AnimateDiffPipeline if decoder.moving else TextToVideoSDPipeline
    pipeline = family.from_pretrained(decoder.save(tmp_path / "ours"))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(tmp_path / "theirs")
    condition = decoder.encode_text(["a cat"])
    expected = decoder(condition, generators=seeds(6))[0].frames
    for name in ("ours", "theirs"):
        loaded = VideoDecoder(path=str(tmp_path / name), frames=3, steps=3)
        assert loaded.text.encoder is None
        assert torch.equal(loaded(condition, generators=seeds(6))[0].frames, expected)
    noise = torch.randn(decoder.latent_shape, generator=seeds(6)[0])[None]
    call = {"num_inference_steps": 3, "latents": noise, "num_frames": 3, "guidance_scale": 7.5, "output_type": "pt"}
    theirs = pipeline("a cat", height=32, width=32, **call).frames[0]
    assert (expected.float() - theirs * 255).abs().max() < 0.51
    half = VideoDecoder(path=str(decoder.save(tmp_path / "half", torch.bfloat16)), frames=3, dtype="bfloat16", steps=2)
    assert half(condition, generators=seeds(6))[0].frames.shape == (3, 3, 32, 32)


def test_it_learns_and_gradient_reaches_the_condition(tiny_video: dict[str, Any], clips: list[Video]) -> None:
    decoder = VideoDecoder(**tiny_video, scheduler={"prediction_type": "v_prediction"}, min_snr=5.0)
    decoder.fit_scaling(clips)
    latents = decoder.latents(clips)
    assert latents.shape == (2, *decoder.latent_shape)
    assert latents.std() == pytest.approx(1, abs=1e-3)
    condition = Condition({"prompt_embeds": torch.randn(2, 6, 12, requires_grad=True)}, {})
    decoder.loss(condition, clips, drop=0.1).backward()
    assert condition.values["prompt_embeds"].grad.abs().sum() > 0
    optimizer, losses = torch.optim.Adam(decoder.parameters(), 1e-2), []
    for _ in range(15):
        optimizer.zero_grad()
        loss = decoder.denoising_loss(condition, latents, torch.Generator().manual_seed(2))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    reconstruction, target, _ = decoder.reconstruct(clips)
    assert reconstruction.shape == target.shape == (6, 3, 32, 32)


def test_motion_over_an_image_pipeline_starts_as_its_images(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    image = StableDiffusionDecoder(**tiny, steps=2)
    path = str(image.save(tmp_path / "image"))
    decoder = VideoDecoder(path=path, motion_adapter=MOTION, frames=2, steps=2)
    assert decoder.text.encoder is None
    condition = image.encode_text(["cat"])
    frames = decoder(condition, generators=seeds(4))[0].frames
    noise = torch.randn(decoder.latent_shape, generator=seeds(4)[0])
    call = {"prompt_embeds": condition.values["prompt_embeds"], "num_inference_steps": 2, "output_type": "pt"}
    call |= {"negative_prompt_embeds": image.null_condition().values["prompt_embeds"], "height": 32, "width": 32}
    for i in range(2):
        alone = pipelines.assemble(image.pipeline, image.models(), {"scheduler": image.scheduler})(
            latents=noise[None, :, i], **call
        ).images[0]
        assert (frames[i].float() - alone * 255).abs().max() < 1.01


def test_motion_is_a_part_that_travels_alone(tiny: dict[str, Any], seeds: Seeds, tmp_path: Path) -> None:
    path = str(StableDiffusionDecoder(**tiny).save(tmp_path / "image"))
    decoder = VideoDecoder(path=path, motion_adapter=MOTION, frames=2, steps=2)
    parts = decoder.parts()
    assert set(parts) == {"vae", "denoiser", "motion", "text"}
    with torch.no_grad():
        for parameter in parts["motion"]:
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeds(0)[0]))
    condition = Condition({"prompt_embeds": torch.randn(1, 6, 12, generator=seeds(1)[0])}, {})
    again = VideoDecoder(path=path, motion_adapter=str(decoder.save_motion(tmp_path / "motion")), frames=2, steps=2)
    assert torch.equal(*(d(condition, generators=seeds(4))[0].frames for d in (decoder, again)))
    adapter = str(decoder.save_motion(tmp_path / "small", torch.int8))
    small = VideoDecoder(path=path, motion_adapter=adapter, frames=2, steps=2)
    off = [(a - b).abs().max() for a, b in zip(parts["motion"], small.parts()["motion"], strict=True)]
    assert 0 < max(off) < 0.01


def test_mistakes_are_named(tiny: dict[str, Any], tmp_path: Path) -> None:
    path = str(StableDiffusionDecoder(**tiny).save(tmp_path))
    with pytest.raises(ValueError, match="a motion adapter is required"):
        VideoDecoder(path=path)
    with pytest.raises(ValueError, match="frames: 9 are more than the motion adapter's 8"):
        VideoDecoder(path=path, motion_adapter=MOTION | {"motion_max_seq_length": 8}, frames=9)
    with pytest.raises(ValueError, match="'heads' not in MotionAdapter"):
        VideoDecoder(path=path, motion_adapter={"heads": 2})
