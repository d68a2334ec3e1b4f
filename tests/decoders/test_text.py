"""The empty caption is encoded once while a text encoder is frozen, anew while it learns; what can come back may leave.

The expected null condition is the decoder's own encoding of "", which no cache knows of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from components import TINY
from torch import Tensor

from anyx.decoders.audioldm import AudioLDMDecoder
from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.decoders.stable_diffusion_3 import StableDiffusion3Decoder

NAME = "prompt_embeds"


@pytest.fixture
def decoder(tiny: dict[str, Any]) -> StableDiffusionDecoder:
    return StableDiffusionDecoder(**tiny).requires_grad_(False)


@pytest.fixture
def folder(tiny: dict[str, Any], tmp_path: Path) -> str:
    return str(StableDiffusionDecoder(**tiny).save(tmp_path))


def calls(decoder: Any) -> list[int]:
    """Fills up as the text encoder runs."""
    ran: list[int] = []
    next(iter(decoder.text.held.values())).register_forward_hook(lambda *_: ran.append(1))
    return ran


def fresh(decoder: Any) -> Tensor:
    value: Tensor = decoder.encode_text([""]).values[NAME]
    return value.detach()


def learn(decoder: Any, **how: bool) -> None:
    """Three steps of the text encoder."""
    decoder.text.requires_grad_(True)
    optimizer = torch.optim.AdamW(decoder.text.parameters(), 1e-2, **how)
    for _ in range(3):
        optimizer.zero_grad()
        decoder.encode_text(["cat"]).values[NAME].square().mean().backward()
        optimizer.step()
    decoder.text.requires_grad_(False)


def test_a_frozen_encoder_says_it_once(decoder: StableDiffusionDecoder) -> None:
    expected, ran = fresh(decoder), calls(decoder)
    for _ in range(3):
        assert torch.equal(decoder.null_condition().values[NAME], expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(decoder.null_condition().values[NAME], expected)
    assert len(ran) == 1
    half = decoder.to(torch.bfloat16)
    assert half.null_condition().values[NAME].dtype == torch.bfloat16
    assert torch.equal(half.null_condition().values[NAME], fresh(half))


@pytest.mark.parametrize("how", [{"fused": True}, {"foreach": True}, {}])
def test_after_its_steps_it_says_it_again(decoder: StableDiffusionDecoder, how: dict[str, bool]) -> None:
    """Fused steps leave a tensor's version as it was, so that alone would not do."""
    before = decoder.null_condition().values[NAME]
    learn(decoder, **how)
    after = decoder.null_condition().values[NAME]
    assert torch.equal(after, fresh(decoder))
    assert (after - before).abs().max() > 1e-3


def test_weights_that_are_read_are_noticed(decoder: StableDiffusionDecoder) -> None:
    before = decoder.null_condition().values[NAME]
    decoder.text.load_state_dict({name: x + 0.1 for name, x in decoder.text.state_dict().items()})
    after = decoder.null_condition().values[NAME]
    assert torch.equal(after, fresh(decoder))
    assert not torch.equal(after, before)


def test_while_it_learns_every_answer_is_its_own(decoder: StableDiffusionDecoder) -> None:
    decoder.null_condition()
    ran = calls(decoder)
    decoder.text.requires_grad_(True)
    for _ in range(2):
        assert decoder.null_condition().values[NAME].requires_grad, "guidance's condition teaches too"
    decoder.requires_grad_(False)
    decoder.text.train()  # as it drops out, no two answers need be the same
    decoder.null_condition()
    assert len(ran) == 3


def test_what_can_come_back_leaves(folder: str) -> None:
    decoder = StableDiffusionDecoder(path=folder)
    told = decoder.encode_text(["cat"]).values[NAME]
    expected = fresh(decoder)
    assert decoder.parts()["text"]
    decoder.release_text()
    assert not decoder.parts()["text"]
    assert torch.equal(decoder.null_condition().values[NAME], expected)
    assert not decoder.parts()["text"], "the null condition needs no encoder"
    assert torch.equal(decoder.encode_text(["cat"]).values[NAME], told)
    kept = StableDiffusionDecoder(path=folder, load_text=True)
    kept.release_text()
    assert kept.parts()["text"], "it was asked for"


@pytest.mark.parametrize("how", [{"fused": True}, {"foreach": True}])
def test_what_has_learnt_or_learns_stays(folder: str, how: dict[str, bool]) -> None:
    decoder = StableDiffusionDecoder(path=folder)
    decoder.encode_text(["cat"])
    learn(decoder, **how)
    expected = fresh(decoder)
    decoder.release_text()
    assert torch.equal(fresh(decoder), expected)
    decoder = StableDiffusionDecoder(path=folder)
    decoder.text.load()
    decoder.text.requires_grad_(True)
    decoder.release_text()
    assert decoder.parts()["text"]


def test_what_no_folder_has_stays(decoder: StableDiffusionDecoder, tmp_path: Path) -> None:
    expected = fresh(decoder)
    decoder.release_text()
    assert torch.equal(fresh(decoder), expected)


def test_several_encoders_leave_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    given = TINY["decoders"]["stable_diffusion_3"][1]
    path = str(StableDiffusion3Decoder(**given).save(tmp_path))
    decoder = StableDiffusion3Decoder(path=path)
    expected = decoder.encode_text([""])
    decoder.release_text()
    assert not decoder.text.held
    torch.testing.assert_close(decoder.null_condition().values, expected.values, rtol=0, atol=0)
    assert len(decoder.text.load().held) == 3


def test_a_vector_is_said_once_too() -> None:
    """CLAP's: the decoder normalises after."""
    torch.manual_seed(0)
    decoder: Any = AudioLDMDecoder(
        **TINY["decoders"]["audioldm"][0],
        text={"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8},
        tokenizer={"words": ["cat"], "length": 5},
    )
    decoder.requires_grad_(False)
    expected, ran = fresh(decoder), calls(decoder)
    assert all(torch.equal(decoder.null_condition().values[NAME], expected) for _ in range(2))
    assert len(ran) == 1
