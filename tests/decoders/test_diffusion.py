from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from anyx.decoders import diffusion
from anyx.decoders.folders import Source
from anyx.decoders.stable_diffusion import StableDiffusionDecoder

NONE = Source(None, "float32")


def test_schedulers_by_name_keep_the_noise_schedule() -> None:
    for name, cls in diffusion.SCHEDULERS.items():
        scheduler = diffusion.make_scheduler(name, NONE)
        assert type(scheduler).__name__ == cls
        assert scheduler.config.beta_schedule == "scaled_linear"
    assert type(diffusion.make_scheduler(None, NONE)).__name__ == "DPMSolverMultistepScheduler"


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_a_published_pipeline_is_sampled_by_dpm_solver(tiny: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """Over the pipeline's own noise schedule and prediction type, in twenty steps; its own sampler is there to ask."""
    given = {"type": "pndm", "prediction_type": kind, "beta_end": 0.02}
    path = str(StableDiffusionDecoder(**tiny, scheduler=given).save(tmp_path))
    decoder = StableDiffusionDecoder(path=path)
    assert decoder.steps == 20
    assert type(decoder.scheduler).__name__ == "DPMSolverMultistepScheduler"
    assert decoder.scheduler.config.prediction_type == kind
    assert decoder.scheduler.config.beta_end == 0.02
    assert type(StableDiffusionDecoder(path=path, scheduler="own").scheduler).__name__ == "PNDMScheduler"
    ancestral = StableDiffusionDecoder(**tiny, scheduler="euler_ancestral").save(tmp_path / "few")
    kept = StableDiffusionDecoder(path=str(ancestral)).scheduler
    assert type(kept).__name__ == "EulerAncestralDiscreteScheduler", "made for few steps: nothing replaces it"


@pytest.mark.parametrize("given", ["dpm", {"type": "ddim", "prediction_typ": "sample"}])
def test_wrong_scheduler_is_named(given: object) -> None:
    with pytest.raises(ValueError, match=r"'dpm' is not one of own, ddim|'prediction_typ' not in DDIMScheduler"):
        diffusion.make_scheduler(given, NONE)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "4"])
def test_decoded_noise_is_nobody_s_wish(steps: object, tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"steps: .* given; it is a whole number, 1 or more"):
        StableDiffusionDecoder(**tiny, steps=steps)  # type: ignore[arg-type]
    decoder = StableDiffusionDecoder(**tiny)
    with pytest.raises(ValueError, match=r"steps: .* given; it is a whole number, 1 or more"):
        decoder(decoder.null_condition(), generators=[torch.Generator()], steps=steps)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_target_follows_the_prediction_type(kind: str) -> None:
    torch.manual_seed(0)
    schedule = DDPMScheduler(prediction_type=kind, beta_schedule="scaled_linear")
    latents, noise, steps = torch.randn(4, 2, 3, 3), torch.randn(4, 2, 3, 3), torch.tensor([1, 300, 600, 998])
    target = diffusion.training_target(schedule, latents, noise, steps)
    if kind == "v_prediction":
        torch.testing.assert_close(target, schedule.get_velocity(latents, noise, steps))
    # Where the unet says exactly the target, a sampler of that type recovers the latents: noisy -> x0.
    sampler = DDIMScheduler.from_config(schedule.config, clip_sample=False)
    sampler.set_timesteps(1000)
    noisy = schedule.add_noise(latents, noise, steps)
    clean = [sampler.step(target[i], int(steps[i]), noisy[i]).pred_original_sample for i in range(4)]
    torch.testing.assert_close(torch.stack(clean), latents, atol=5e-3, rtol=0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_loss_is_the_error_against_that_target(kind: str) -> None:
    scheduler = diffusion.make_scheduler({"prediction_type": kind}, NONE)
    latents = torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    def perfect(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        signal = scheduler.alphas_cumprod[steps][:, None, None, None]
        noise = (noisy - signal.sqrt() * latents) / (1 - signal).sqrt()
        return {
            "epsilon": noise,
            "v_prediction": signal.sqrt() * noise - (1 - signal).sqrt() * latents,
            "sample": latents,
        }[kind]

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    assert diffusion.denoising_loss(perfect, latents, scheduler, generator=generator()) < 1e-6
    zero = lambda noisy, steps: torch.zeros_like(noisy)  # noqa: E731
    plain = diffusion.denoising_loss(zero, latents, scheduler, generator=generator())
    assert 0.9 < plain < 1.1  # every target has unit variance
    weighed = diffusion.denoising_loss(zero, latents, scheduler, generator=generator(), min_snr=5.0)
    assert weighed < plain if kind != "sample" else weighed < 5.1 * plain
    assert torch.equal(plain, diffusion.denoising_loss(zero, latents, scheduler, generator=generator()))


def test_a_share_of_the_samples_is_nearly_all_noise() -> None:
    scheduler, seen = diffusion.make_scheduler(None, NONE), []

    def predict(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        seen.append((steps >= 850).float().mean().item())
        return noisy

    latents = torch.zeros(2000, 1, 1, 1)
    for share in (0.0, 0.6, 1.0):
        generator = torch.Generator().manual_seed(0)
        diffusion.denoising_loss(predict, latents, scheduler, generator=generator, noisy_share=share)
    assert seen == pytest.approx([0.15, 0.6 + 0.4 * 0.15, 1.0], abs=0.03)


def test_unknown_prediction_type() -> None:
    schedule = DDPMScheduler(prediction_type="epsilon")
    schedule.register_to_config(prediction_type="flow")
    with pytest.raises(ValueError, match="'flow' is not one of"):
        diffusion.training_target(schedule, torch.zeros(1), torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize(
    ("given", "read"),
    [(None, (None, False)), (5, (5, False)), ({"gamma": 5}, (5, False)), ({"gamma": 5, "over": "batch"}, (5, True))],
)
def test_min_snr_of_samples_or_of_the_batch(given: Any, read: tuple[float | None, bool]) -> None:
    assert diffusion.read_min_snr(given) == read


@pytest.mark.parametrize("given", [0, -1, {"over": "batch"}, {"gamma": 5, "over": "all"}, {"gama": 5}])
def test_a_wrong_min_snr_is_named(given: Any) -> None:
    with pytest.raises(
        ValueError, match=r"min_snr: .* given; it is a gamma above 0, or {gamma: above 0, over: samples"
    ):
        diffusion.read_min_snr(given)
