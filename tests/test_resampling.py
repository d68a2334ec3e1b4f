"""Every published resampler is a set of keywords: what each set makes, and Kosmos-2's against transformers.

Values of Flamingo's, Qwen-VL's and mPLUG-Owl's are held in tests/goldens/test_golden_resamplers.py.
"""

from __future__ import annotations

import pytest
import torch
from transformers import Kosmos2Config
from transformers.models.kosmos2.modeling_kosmos2 import Kosmos2ImageToTextProjection

from anyx.interfaces import Tokens
from anyx.resampling import PRESETS, ResamplerInputProjector


@torch.no_grad()
def test_kosmos2_is_transformers() -> None:
    torch.manual_seed(0)
    text = {"embed_dim": 12, "attention_heads": 3, "dropout": 0.0, "attention_dropout": 0.0}
    config = Kosmos2Config(text_config=text, vision_config={"hidden_size": 10}, latent_query_num=5)
    theirs = Kosmos2ImageToTextProjection(config).eval()
    ours = ResamplerInputProjector(10, 12, preset="kosmos2", tokens=5, heads=3).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    given, state = theirs.state_dict(), ours.state_dict()
    state["proj_in.weight"], state["proj_in.bias"] = given["dense.weight"], given["dense.bias"]
    state["resampler.latents"] = given["latent_query"]
    for kind in ("weight", "bias"):
        parts = [given[f"x_attn.{name}_proj.{kind}"] for name in "qkv"]
        state[f"resampler.blocks.0.attn.in_proj_{kind}"] = torch.cat(parts)
        state[f"resampler.blocks.0.attn.out_proj.{kind}"] = given[f"x_attn.out_proj.{kind}"]
    ours.load_state_dict(state)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x = torch.randn(2, 7, 10)
    torch.testing.assert_close(ours(Tokens.full(x)).values, theirs(x)[0])


# Counted from the forms' own arithmetic; tokens are those of the table of systems.
SIZES = {
    "flamingo": (1024, 1024, 64, 6 * (4 * 1024 * 512 + 8 * 1024**2 + 6 * 1024) + 64 * 1024 + 2 * 1024),
    "qwen": (1664, 4096, 256, 1664 * 4096 + 4 * 4096**2 + 4 * 4096 + 256 * 4096 + 6 * 4096 + 4096**2),
    "kosmos2": (1024, 2048, 64, 1025 * 2048 + 64 * 2048 + 4 * 2049 * 2048),
    "owl": (1024, 4096, 65, 6 * (4 * 1025 * 1024 + 6 * 1024 + 2 * 1025 * 2816 + 2 * 2816 + 2817 * 1024)
            + 64 * 1024 + 1025 * 4096 + 4096),
}  # fmt: skip


@pytest.mark.parametrize("preset", SIZES)
def test_published_sizes(preset: str) -> None:
    dim_in, dim_out, tokens, count = SIZES[preset]
    with torch.device("meta"):
        projector = ResamplerInputProjector(dim_in, dim_out, preset=preset)  # type: ignore[arg-type]
        made = projector(Tokens.full(torch.zeros(2, 256, dim_in)))
    assert made.values.shape == (2, tokens, dim_out)
    assert sum(p.numel() for p in projector.parameters()) == count


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_given_takes_the_presets_place(preset: str) -> None:
    projector = ResamplerInputProjector(12, 8, preset=preset, tokens=4, heads=2, hidden=16, depth=1, feed=6)  # type: ignore[arg-type]
    assert projector.resampler.latents.shape == (4, 16)
    assert len(projector.resampler.blocks) == 1
    assert projector(Tokens.full(torch.randn(3, 9, 12))).values.shape[::2] == (3, 8)


def test_errors_name_what_was_given() -> None:
    with pytest.raises((ValueError, TypeError), match="qwen"):
        ResamplerInputProjector(8, 8, preset="qwn")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tokens must be at least 1, given 0"):
        ResamplerInputProjector(8, 8, tokens=0)
    with pytest.raises(ValueError, match="frames must not be negative, given -1"):
        ResamplerInputProjector(8, 8, frames=-1)
    with pytest.raises(ValueError, match="frames: 4 given, but 6 tokens of an item are no multiple of that"):
        ResamplerInputProjector(8, 8, frames=4)(Tokens.full(torch.randn(1, 6, 8)))
    with pytest.raises(ValueError, match="heads must divide dim: given dim=12, heads=5"):
        ResamplerInputProjector(8, 12, preset="qwen", tokens=4, heads=5)
