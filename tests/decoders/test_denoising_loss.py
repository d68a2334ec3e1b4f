"""The denoising loss: weights by the signal-to-noise ratio, each sample's its own, and the parity switches."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from anyx.decoders.diffusion import denoising_loss, min_snr_weights, signal_to_noise, training_target

STEPS = torch.tensor([0, 40, 400, 999])


def given(kind: str) -> tuple[DDPMScheduler, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    schedule = DDPMScheduler(beta_schedule="scaled_linear", prediction_type=kind)
    latents, noise, said = torch.randn(3, 4, 2, 3, 3)
    return schedule, latents, noise, said


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_min_snr_clips_what_an_error_in_the_latents_weighs(kind: str) -> None:
    """Hang et al. 2023: weights are such that the loss, told of the latents, is min(SNR, gamma) times their error."""
    schedule, latents, noise, _ = given(kind)
    signal = schedule.alphas_cumprod[STEPS].double()
    ratio = signal_to_noise(schedule, STEPS)
    torch.testing.assert_close(ratio.double(), signal / (1 - signal), rtol=1e-4, atol=0)
    wrong = latents + 0.1  # the latents that a prediction stands for; noise and velocity follow from the noisy ones
    root, rest = signal.sqrt().view(-1, 1, 1, 1), (1 - signal).sqrt().view(-1, 1, 1, 1)
    noisy = root * latents + rest * noise
    implied = (noisy - root * wrong) / rest
    said = {"epsilon": implied, "v_prediction": root * implied - rest * wrong, "sample": wrong.double()}[kind]
    error = (said - training_target(schedule, latents, noise, STEPS)).square().flatten(1).mean(1)
    weights = min_snr_weights(ratio, 5.0, kind)
    torch.testing.assert_close(weights * error, 0.01 * ratio.clamp(max=5).double(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_every_sample_is_weighed_by_its_own_timestep(kind: str) -> None:
    schedule, latents, noise, said = given(kind)
    error = (said - training_target(schedule, latents, noise, STEPS)).square().flatten(1).mean(1)
    weights = min_snr_weights(signal_to_noise(schedule, STEPS), 5.0, kind)
    seen: list[Tensor] = []

    def predict(noisy: Tensor, steps: Tensor) -> Tensor:
        seen.append(noisy)
        assert torch.equal(steps, STEPS)
        return said

    plain = denoising_loss(predict, latents, schedule, steps=STEPS, noise=noise)
    own = denoising_loss(predict, latents, schedule, steps=STEPS, noise=noise, min_snr=5.0)
    shared = denoising_loss(predict, latents, schedule, steps=STEPS, noise=noise, min_snr=5.0, average_weights=True)
    torch.testing.assert_close(plain, error.mean())
    torch.testing.assert_close(own, (error * weights).mean())
    torch.testing.assert_close(shared, error.mean() * weights.mean())
    assert not torch.isclose(own, shared)
    assert all(torch.equal(noisy, schedule.add_noise(latents, noise, STEPS)) for noisy in seen)


def test_the_target_can_be_told_against_the_scheduler() -> None:
    schedule, latents, noise, _ = given("v_prediction")
    loss = denoising_loss(lambda *_: noise, latents, schedule, steps=STEPS, noise=noise, prediction="epsilon")
    assert loss == 0
    assert denoising_loss(lambda *_: noise, latents, schedule, steps=STEPS, noise=noise) > 0.1
    with pytest.raises(ValueError, match="'flow' is not one of epsilon, sample, v_prediction"):
        denoising_loss(lambda *_: noise, latents, schedule, steps=STEPS, noise=noise, prediction="flow")
