"""Without a graphics card the other device is `meta`: what is lent to it has shapes only, what waits is untouched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from anyx.decoders import residence
from anyx.decoders.stable_diffusion import StableDiffusionDecoder

META = torch.device("meta")


def test_offloaded_weights_wait_where_they_are(tiny: dict[str, Any]) -> None:
    offloaded = StableDiffusionDecoder(**tiny, offload="model")
    before = offloaded.unet.conv_in.weight.clone()
    offloaded.to(META)
    assert torch.equal(offloaded.unet.conv_in.weight, before)
    assert offloaded.to(torch.bfloat16).unet.dtype == torch.bfloat16, "a dtype is taken on"
    assert all(p.is_meta for p in StableDiffusionDecoder(**tiny).to(META).unet.parameters())


def test_lent_weights_are_copies_and_come_back_the_same(tiny: dict[str, Any]) -> None:
    decoder = StableDiffusionDecoder(**tiny, offload="model")
    before = list(decoder.unet.parameters())
    with residence.lent(decoder.models().values(), META):
        assert all(p.is_meta for model in decoder.models().values() for p in model.parameters())
        assert not any(p.is_meta for p in decoder.text.parameters()), "no text encoder is needed"
    assert all(x is y for x, y in zip(before, decoder.unet.parameters(), strict=True))


def test_weights_come_to_the_condition_s_device(
    tiny: dict[str, Any], seeds: Callable[..., list[torch.Generator]]
) -> None:
    """On one device both policies make the same picture, and nothing is moved."""
    resident = StableDiffusionDecoder(**tiny, steps=1)
    offloaded = StableDiffusionDecoder(**tiny, steps=1, offload="model")
    offloaded.load_state_dict(resident.state_dict())
    condition = resident.encode_text(["cat"])
    one, two = (d(condition, generators=seeds(3))[0].pixels for d in (resident, offloaded))
    assert torch.equal(one, two)


def test_wrong_policy_is_named(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="offload: 'disk' is not one of never, model"):
        StableDiffusionDecoder(**tiny, offload="disk")  # type: ignore[arg-type]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")
def test_on_a_graphics_card(tiny: dict[str, Any], seeds: Callable[..., list[torch.Generator]]) -> None:
    decoder = StableDiffusionDecoder(**tiny, steps=2, offload="model")
    condition = decoder.encode_text(["cat"])
    here = decoder(condition, generators=seeds(3))[0].pixels
    decoder.to("cuda")
    assert decoder.unet.device.type == "cpu"
    values = {name: value.cuda() for name, value in condition.values.items()}
    there = decoder(condition._replace(values=values, masks={}), generators=seeds(3))[0].pixels
    assert decoder.unet.device.type == "cpu"
    assert (here.int() - there.int()).abs().max() <= 2
