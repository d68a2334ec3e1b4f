import pytest
import torch

from anyx.decoders import flow
from anyx.decoders.folders import Source

NOWHERE = Source(None, "float32")
LTX = {  # the published scheduler's
    "use_dynamic_shifting": True,
    "base_shift": 0.95,
    "max_shift": 2.05,
    "base_image_seq_len": 1024,
    "max_image_seq_len": 4096,
}


def test_an_exact_denoiser_loses_nothing_and_samples_the_data() -> None:
    """Along the flow to one datum the velocity is (noisy - data) / s."""
    scheduler, data = flow.make_scheduler({"shift": 3.0}, NOWHERE), torch.randn(64, 2, 3)

    def oracle(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        return (noisy - data[: len(noisy)]) / (steps / 1000).view(-1, 1, 1)

    assert flow.flow_loss(oracle, data, scheduler) < 1e-8
    assert flow.flow_loss(lambda *seen: -oracle(*seen), data, scheduler) > 1
    scheduler.set_timesteps(4)
    latents = torch.randn(1, 2, 3)
    for step in scheduler.timesteps:
        latents = scheduler.step(oracle(latents, step), step, latents).prev_sample
    torch.testing.assert_close(latents, data[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("tokens", "expected"), [(1024, 0.95), (4096, 2.05), (2560, 1.5)])
def test_levels_move_with_the_length_of_the_sequence(tokens: int, expected: float) -> None:
    """e^m s / (1 + (e^m - 1) s), m linear from 0.95 at 1024 positions to 2.05 at 4096: the odds are times e^m."""
    seen: list[torch.Tensor] = []

    def look(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        seen.append(steps / 1000)
        return noisy

    latents = torch.zeros(8, 1)
    for given in (LTX, {}):
        scheduler = flow.make_scheduler(given, NOWHERE)
        flow.flow_loss(look, latents, scheduler, generator=torch.Generator().manual_seed(0), tokens=tokens)
    moved, plain = seen
    torch.testing.assert_close((moved / (1 - moved)).log() - (plain / (1 - plain)).log(), torch.full((8,), expected))


def test_another_scheduler_is_refused() -> None:
    with pytest.raises(ValueError, match="'ddim' is not one of flow"):
        flow.make_scheduler("ddim", NOWHERE)
    with pytest.raises(ValueError, match="'beta_start' not in"):
        flow.make_scheduler({"beta_start": 0.1}, NOWHERE)
