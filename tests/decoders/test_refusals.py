"""Every registered decoder refuses what it cannot make, in one line that names what was given and what is allowed.

What `decode={key: {...}}` may say are the keywords of `forward`; one that is new here needs its row in `WRONG`.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import Any

import pytest
import torch
from components import TINY

from anyx.interfaces import Condition
from anyx.ports import takes
from anyx.registry import resolve

NAN, INF = float("nan"), float("inf")
NUMBERS = ("x", NAN, INF, -INF, -1, [1], True)
COUNTS = (*NUMBERS, 0, 2.5)
WRONG: dict[str, tuple[Any, ...]] = {
    "steps": COUNTS,
    "frames": COUNTS,
    "guidance": NUMBERS,
    "rescale": (*NUMBERS[:-1], 1.5),
    "fps": (*NUMBERS, 0),
    "seconds": (*NUMBERS, 0, 1e-9),
    "size": ("x", "ab", NAN, INF, -8, 0, True, [8], [32, NAN], [32, -32], [32.0, 32.0], [32, 32, 32], 31, [32, 31]),
    "latents": ("x", 1.0, [0.0], torch.zeros(()), torch.zeros(1, 2, 3)),
}
ALLOWED = {
    "steps": "it is a whole number, 1 or more",
    "frames": "it is a whole number, 1 or more",
    "guidance": "it is 0 or more",
    "rescale": "it is from 0 to 1",
    "fps": "it is more than 0",
    "seconds": r"it is [\d.]+ or more|it is from [\d.]+ to [\d.]+",
    "size": r"it is a number of pixels, or height and width|are each a multiple of \d+",
    "latents": r"they are \(1, [\d, ]+\), a tensor",
}
DECODERS = list(TINY["decoders"])


@cache
def made(name: str) -> Any:
    torch.manual_seed(0)
    return resolve("decoders", name)(**TINY["decoders"][name][0]).eval().requires_grad_(False)


def one(decoder: Any) -> dict[str, Any]:
    values = {name: torch.zeros(1, *shape) for name, shape in decoder.condition.items()}
    return {"condition": Condition(values, {}), "generators": [torch.Generator().manual_seed(0)]}


def told(name: str, given: Any) -> str:
    shown = given if not isinstance(given, torch.Tensor) else tuple(given.shape)
    return rf"^{name}: {re.escape(repr(shown))} given.*({ALLOWED[name]})"


@pytest.mark.parametrize("name", DECODERS)
def test_a_request_is_refused(name: str) -> None:
    decoder = made(name)
    for keyword in takes(decoder):
        for given in WRONG[keyword]:
            with pytest.raises(ValueError, match=told(keyword, given)):
                decoder(**one(decoder), **{keyword: given})


@pytest.mark.parametrize("name", DECODERS)
def test_a_default_is_refused(name: str) -> None:
    """What a YAML says is held against the same, when the decoder is built."""
    cls = resolve("decoders", name)
    for keyword in inspect.signature(cls).parameters.keys() & WRONG.keys():
        for given in (NAN, "x"):
            with pytest.raises(ValueError, match=told(keyword, given)):
                cls(**TINY["decoders"][name][0] | {keyword: given})


@pytest.mark.parametrize("name", [name for name in DECODERS if "seconds" in takes(made(name))])
def test_the_shortest_sound_is_told_and_made(name: str) -> None:
    decoder = made(name)
    with pytest.raises(ValueError, match=told("seconds", 1e-9)) as refused:
        decoder(**one(decoder), seconds=1e-9)
    least = float(str(refused.value).removesuffix(" or more").partition(" to ")[0].split()[-1])
    (sound,) = decoder(**one(decoder), seconds=least)
    assert abs(sound.samples.shape[1] - least * decoder.rate) <= 1
    assert sound.samples.shape[1] > 0


def test_clips_of_another_length_are_no_targets() -> None:
    """Their latents are a sequence, which says nothing of frames, rows and columns."""
    decoder = made("ltx")
    latents = torch.zeros(1, *decoder.latent_shape)
    longer = torch.cat([latents, latents], 1)
    condition = one(decoder)["condition"]
    assert decoder.denoising_loss(condition, latents).isfinite()
    wanted = re.escape(f"latents: {tuple(longer.shape)} given; clips of 9 frames of (32, 32) pixels have ('b', ")
    with pytest.raises(ValueError, match=wanted):
        decoder.denoising_loss(condition, longer)
