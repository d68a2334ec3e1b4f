from __future__ import annotations

import pytest
import torch

from anyx.decoders import flow
from anyx.decoders.folders import Source

NONE = Source(None, "float32")


def test_loss_is_the_error_against_noise_minus_latents() -> None:
    """Who knows the latents knows the velocity: (noisy - latents) / level."""
    scheduler = flow.flow_scheduler(None, NONE)
    latents = torch.randn(64, 2, 4, 4, generator=torch.Generator().manual_seed(0))

    def perfect(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        assert steps.shape == (64,)
        assert (steps > 0).all()
        assert (steps < 1000).all()
        return (noisy - latents) / (steps / 1000).view(-1, 1, 1, 1)

    def loss(predict: object) -> torch.Tensor:
        generator = torch.Generator().manual_seed(3)
        return flow.flow_matching_loss(predict, latents, scheduler, generator=generator)  # type: ignore[arg-type]

    assert loss(perfect) < 1e-6
    zero = loss(lambda noisy, steps: torch.zeros_like(noisy))
    assert 1.8 < zero < 2.2, "the variance of noise - latents is 2"
    assert torch.equal(zero, loss(lambda noisy, steps: torch.zeros_like(noisy)))


def test_a_sampler_that_is_told_the_velocity_finds_the_latents() -> None:
    scheduler = flow.flow_scheduler({"type": "flow_euler", "shift": 2.0}, NONE)
    scheduler.set_timesteps(4)
    latents, noise = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    place = noise
    for step in scheduler.timesteps:
        place = scheduler.step(noise - latents, step, place).prev_sample
    torch.testing.assert_close(place, latents)


def test_levels_are_shifted_as_the_scheduler_shifts_them() -> None:
    """diffusers' own shift of its levels, with and without."""
    plain, moved = (flow.flow_scheduler({"shift": shift}, NONE).sigmas for shift in (1.0, 3.0))
    torch.testing.assert_close(flow.shifted(plain, 3.0), moved)


def test_wrong_scheduler_is_named() -> None:
    with pytest.raises(ValueError, match="'ddim' is not one of own, flow_euler, flow_heun"):
        flow.flow_scheduler("ddim", NONE)
