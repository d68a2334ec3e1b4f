"""What a denoiser's answer is held against: the scheduler's own prediction type, or the target that a YAML names.

The expected loss is written out from diffusers' schedule: the noise, the latents, or `get_velocity` of both.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from components import TINY
from diffusers import DDPMScheduler
from torch import Tensor

from anyx import config as configs
from anyx.build import build_decoders
from anyx.decoders import methods
from anyx.decoders.diffusion import LossTarget, min_snr_weights, signal_to_noise
from anyx.interfaces import Condition
from anyx.registry import resolve

KINDS = ("epsilon", "sample", "v_prediction")
BY_NOISE = [n for n in TINY["decoders"] if vars(resolve("decoders", n))["denoising_loss"] is methods.denoising_loss]


def made(name: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return resolve("decoders", name)(**TINY["decoders"][name][0], **more).eval().requires_grad_(False)


def loss_of(decoder: Any) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]], Tensor]:
    """A loss, what the denoiser was asked and said, and the latents."""
    torch.manual_seed(1)
    values = {name: torch.randn(2, *shape) for name, shape in decoder.condition.items()}
    latents, asked = torch.randn(2, *decoder.latent_shape), []
    hook = decoder.unet.register_forward_hook(lambda _, given, said: asked.append((*given[:2], said.sample)))
    loss = decoder.denoising_loss(Condition(values, {}), latents, torch.Generator().manual_seed(2))
    hook.remove()
    return loss, asked, latents


def expected(decoder: Any, kind: str, noisy: Tensor, steps: Tensor, said: Tensor, latents: Tensor) -> Tensor:
    """Every item's error against a target of that kind."""
    schedule = DDPMScheduler.from_config(decoder.scheduler.config)
    signal = schedule.alphas_cumprod[steps].view(-1, *[1] * (latents.ndim - 1))
    noise = (noisy - signal.sqrt() * latents) / (1 - signal).sqrt()
    velocity = schedule.get_velocity(latents, noise, steps)
    return (said - {"epsilon": noise, "sample": latents, "v_prediction": velocity}[kind]).square().flatten(1).mean(1)


@pytest.mark.parametrize("own", KINDS)
@pytest.mark.parametrize("target", get_args(LossTarget))
def test_the_loss_is_the_error_against_the_target(own: str, target: str) -> None:
    for more in ({}, {"min_snr": 5.0}, {"min_snr": {"gamma": 5.0, "over": "batch"}}):
        decoder = made("stable_diffusion", scheduler={"prediction_type": own}, loss_target=target, **more)
        loss, [(noisy, steps, said)], latents = loss_of(decoder)
        kind = own if target == "own" else target
        error = expected(decoder, kind, noisy, steps, said, latents)
        weights = min_snr_weights(
            signal_to_noise(DDPMScheduler.from_config(decoder.scheduler.config), steps), 5.0, kind
        )
        over = more.get("min_snr")
        wanted = error if over is None else error * (weights if over == 5.0 else weights.mean())
        torch.testing.assert_close(loss, wanted.mean(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", BY_NOISE)
def test_every_decoder_of_that_loss_has_the_option(name: str) -> None:
    """By default it changes nothing; with another target the loss is another, and decoding is the same."""
    scheduler = {"prediction_type": "v_prediction"}
    plain, own, other = (
        made(name, scheduler=scheduler, **more) for more in ({}, {"loss_target": "own"}, {"loss_target": "epsilon"})
    )
    read = Condition({n: torch.ones(1, *shape) for n, shape in plain.condition.items()}, {})
    with torch.no_grad():
        media = [d(read, generators=[torch.Generator().manual_seed(0)])[0] for d in (plain, other)]
    first, second = (next(x for x in vars(item).values() if isinstance(x, Tensor)) for item in media)
    assert torch.equal(first, second)
    losses = [loss_of(decoder) for decoder in (plain, own, other)]
    assert losses[0][0] == losses[1][0] != losses[2][0]
    loss, [(noisy, steps, said)], latents = losses[2]
    error = expected(other, "epsilon", noisy, steps, said, latents)
    torch.testing.assert_close(loss, error.mean(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", BY_NOISE)
def test_a_wrong_target_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="loss_target: 'noise' is not one of own, epsilon, sample, v_prediction"):
        made(name, loss_target="noise")
    with pytest.raises(ValueError, match=r"noisy_share: 1\.5 given; it is from 0 to 1"):
        made(name, noisy_share=1.5)


def test_decoders_of_velocities_have_no_such_option() -> None:
    """Flow matching has one target; an option that does nothing would be silent."""
    for name in TINY["decoders"].keys() - set(BY_NOISE):
        assert "loss_target" not in inspect.signature(resolve("decoders", name)).parameters


def test_a_yaml_says_it_and_keeps_it(tmp_path: Path) -> None:
    node = {"type": "stable_diffusion", **TINY["decoders"]["stable_diffusion"][0]}
    raw = {"outputs": {"image": {"decoder": node | {"loss_target": "noise"}}}}
    wrong = r"outputs\.image\.decoder\.loss_target: 'noise' is not one of own, epsilon, sample, v_prediction"
    with pytest.raises(ValueError, match=wrong):
        configs.check(raw)
    raw["outputs"]["image"]["decoder"]["loss_target"] = "epsilon"
    (tmp_path / "config.yaml").write_text(configs.check(raw).to_yaml())
    again: Any = build_decoders(configs.load(tmp_path / "config.yaml").outputs)["image"]
    assert again.objective.prediction == "epsilon"
