"""Oracles: what an exact denoiser of one known datum would say, by the definition of the velocity."""

import math

import pytest
import torch

from anyx.decoders import velocity
from anyx.decoders.folders import Source

NOWHERE = Source(None, "float32")
SCHEDULERS = ["cosine", "edm", {"type": "edm", "prediction_type": "epsilon", "sigma_data": 0.5, "sigma_max": 80.0}]


def angle_of(scheduler: object, level: torch.Tensor) -> torch.Tensor:
    """What an angle the denoiser is told of: 2 a / pi by Stable Audio, log(sigma) / 4 by EDM."""
    if isinstance(scheduler, velocity.CosineDPMSolverMultistepScheduler):
        return level * math.pi / 2
    return ((4 * level).exp() / scheduler.config.sigma_data).atan()  # type: ignore[attr-defined]


def oracle(scheduler: object, data: torch.Tensor, noisy: torch.Tensor, level: torch.Tensor) -> torch.Tensor:
    scale = scheduler.config.sigma_data  # type: ignore[attr-defined]
    angle = angle_of(scheduler, level).double().view(-1, 1, 1)
    noise = (noisy.double() - data / scale * angle.cos()) / angle.sin()
    said = noise * angle.cos() - data / scale * angle.sin()
    return said if scheduler.config.prediction_type == "v_prediction" else -said  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", SCHEDULERS)
def test_an_exact_denoiser_loses_nothing(given: object) -> None:
    scheduler, data = velocity.make_scheduler(given, NOWHERE), torch.randn(64, 2, 3)  # type: ignore[arg-type]
    loss = velocity.velocity_loss(lambda *seen: oracle(scheduler, data, *seen), data, scheduler)
    assert loss < 1e-4
    wrong = velocity.velocity_loss(lambda *seen: -oracle(scheduler, data, *seen), data, scheduler)
    assert wrong > 1


@pytest.mark.parametrize("given", SCHEDULERS)
def test_an_exact_denoiser_s_samples_are_the_data(given: object) -> None:
    """Sampling tells and reads what training does: the steps end on the datum, whatever noise they begin with."""
    scheduler, data = velocity.make_scheduler(given, NOWHERE), torch.randn(1, 2, 3)  # type: ignore[arg-type]
    scheduler.set_timesteps(6)
    latents = torch.randn(1, 2, 3) * scheduler.init_noise_sigma
    for level in scheduler.timesteps:
        noisy = scheduler.scale_model_input(latents, level)
        latents = scheduler.step(oracle(scheduler, data, noisy, level[None]).float(), level, latents).prev_sample
    torch.testing.assert_close(latents, data, atol=1e-2, rtol=0)


def test_stable_audio_s_levels_go_from_one_to_nought() -> None:
    """sigma 500 and 0.3: atan gives 0.9987 and 0.1855 right angles."""
    scheduler = velocity.make_scheduler(None, NOWHERE)
    scheduler.set_timesteps(3)
    assert scheduler.timesteps[0].item() == pytest.approx(2 * math.atan(500) / math.pi)
    assert scheduler.timesteps[-1].item() == pytest.approx(2 * math.atan(0.3) / math.pi)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="'ddim' is not one of cosine, edm"):
        velocity.make_scheduler("ddim", NOWHERE)
    with pytest.raises(ValueError, match="'sample' is not one of v_prediction, epsilon"):
        velocity.make_scheduler({"prediction_type": "sample"}, NOWHERE)
    with pytest.raises(ValueError, match="'beta_start' not in"):
        velocity.make_scheduler({"beta_start": 0.1}, NOWHERE)
