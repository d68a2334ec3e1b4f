"""Tiny decoders, as a YAML would configure them, and the helpers of their tests."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from anyx.interfaces import Condition
from anyx.media import Image

VAE = {
    "block_out_channels": [8, 8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
UNET = {
    "sample_size": 4,
    "block_out_channels": [8, 16],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 12,
    "attention_head_dim": 4,
    "norm_num_groups": 4,
    "layers_per_block": 1,
}
TEXT = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture
def tiny() -> dict[str, Any]:
    """Keyword arguments of a 32-pixel Stable Diffusion with conditions (6, 12)."""
    torch.manual_seed(0)
    return {"vae": VAE, "unet": UNET, "text": TEXT, "tokenizer": {"words": ["cat", "dog"], "length": 6}}


@pytest.fixture
def images() -> list[Image]:
    generator = torch.Generator().manual_seed(1)
    return [Image(torch.randint(0, 256, (3, 40, 32), dtype=torch.uint8, generator=generator)) for _ in range(3)]


@pytest.fixture
def seeds() -> Callable[..., list[torch.Generator]]:
    return lambda *numbers: [torch.Generator().manual_seed(number) for number in numbers]


@pytest.fixture
def take() -> Callable[..., Condition]:
    """Some rows of a condition."""
    return lambda condition, *rows: Condition(
        {k: v[list(rows)].detach() for k, v in condition.values.items()},
        {k: v[list(rows)] for k, v in condition.masks.items()},
    )
