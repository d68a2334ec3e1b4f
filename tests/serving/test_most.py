"""How much may be asked of a decoder, as the command line says it or as what it makes by itself says."""

from __future__ import annotations

import pytest
import tiny
from live import anyworld

from anyx.decoders.stable_diffusion import StableDiffusionDecoder
from anyx.serving.most import SIDE, Most, amounts, bounds, side

UNET = {
    "block_out_channels": [8, 8], "layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 8,
    "attention_head_dim": 4, "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
VAE = {
    "block_out_channels": [8, 8, 8, 8], "layers_per_block": 1, "norm_num_groups": 4, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip


@pytest.mark.parametrize(("own", "most"), [(48, 192), (64, 256), (512, SIDE), (1024, SIDE), (1280, 1280)])
def test_a_side_goes_with_what_the_decoder_makes_by_itself(own: int, most: int) -> None:
    """Stable Diffusion 1.5 has 64 latents of 8 pixels and may be asked for 1024; a large one always for its own."""
    decoder = StableDiffusionDecoder(unet=UNET | {"sample_size": own // 8}, vae=VAE, length=4)
    assert decoder.size == (own, own)
    assert side(decoder) == most
    assert Most().beside(decoder).size == most
    assert Most(size=77).beside(decoder).of("size") == 77


def test_vendored_decoders_have_sides_before_they_are_loaded() -> None:
    outputs = anyworld().outputs
    assert {key: side(port.known) for key, port in outputs.items()} == {"image": 192, "audio": SIDE, "video": 192}
    assert side(None) == side(tiny.anyx().outputs["audio"].known) == SIDE


def test_amounts_of_the_command_line() -> None:
    found = amounts(["steps=50", "seconds=2.5", "steps=60"], ("steps", "seconds"))
    assert found == {"steps": 60, "seconds": 2.5}
    assert isinstance(found["steps"], int)
    assert bounds(["steps=50", "seconds=2.5"]) == Most(steps=50, seconds=2.5)
    assert bounds(["guidance=7"]).of("guidance") == 7
    for wrong in ("speed=3", "steps", "steps=many", "steps=-1", "steps=2.5", "seconds=1e3", "seconds=nan", "=3", ""):
        with pytest.raises(ValueError, match=f"^--most '{wrong}' is not of the form NAME=NUMBER"):
            bounds([wrong])
