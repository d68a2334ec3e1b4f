"""VideoChat's eye: frames are those of the tower, and one query reads all of them.

No published code runs here: what the query reads is said again below with loops over frames, places and heads.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.encoders.eva_video import EvaVideoEncoder, GlobalAggregator
from anyx.media import Image, Video

CONFIG = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CONFIG |= {"image_size": 28, "patch_size": 14, "initializer_range": 0.2}


def made(**given: Any) -> EvaVideoEncoder:
    torch.manual_seed(0)
    return EvaVideoEncoder(config=CONFIG, **{"depth": 2, "frames": 3, **given}).eval()


def shaken(module: nn.Module) -> None:
    """Every weight away from where it begins."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)


def normal(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias


def read(block: GlobalAggregator, query: Tensor, patches: Tensor) -> Tensor:
    """One clip: query (d), patches (t, g, g, d)."""
    frames, side, _, dim = patches.shape
    placed = []
    for t in range(frames):
        for i in range(side):
            for j in range(side):
                here = patches[t, i, j] + block.place.bias
                for a in range(-1, 2):
                    for b in range(-1, 2):
                        for c in range(-1, 2):
                            if 0 <= t + a < frames and 0 <= i + b < side and 0 <= j + c < side:
                                kernel = block.place.weight[:, 0, a + 1, b + 1, c + 1]
                                here = here + kernel * patches[t + a, i + b, j + c]
                placed.append(normal(here, block.norm_patches))
    weights, biases = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)  # type: ignore[union-attr]
    q = weights[0] @ normal(query, block.norm_query) + biases[0]
    heads, width = block.attn.heads, dim // block.attn.heads
    said = torch.zeros(dim)
    for head in range(heads):
        mine = slice(head * width, (head + 1) * width)
        keys = [(weights[1] @ x + biases[1])[mine] for x in placed]
        shares = torch.stack([q[mine] @ key / width**0.5 for key in keys]).softmax(0)
        said[mine] = sum(share * (weights[2] @ x + biases[2])[mine] for share, x in zip(shares, placed, strict=True))
    query = query + block.attn.out_proj.weight @ said + block.attn.out_proj.bias
    hidden = F.gelu(block.mlp.fc1.weight @ normal(query, block.norm_mlp) + block.mlp.fc1.bias)
    return query + block.mlp.fc2.weight @ hidden + block.mlp.fc2.bias


@torch.no_grad()
def test_at_the_beginning_nothing_is_added() -> None:
    encoder = made(post_ln="none")
    pixels = torch.randn(2, 3, 3, 28, 28)
    tokens = encoder({"pixels": pixels})
    frames = encoder.eye({"pixels": pixels}).values
    assert frames.std() > 0.1
    assert tokens.values.shape == (2, 3 * 5 + 1, 16)
    torch.testing.assert_close(tokens.values[:, :-1], frames)
    assert not tokens.values[:, -1].any()
    assert tokens.mask.all()


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3])
def test_the_query_reads_all_frames(frames: int) -> None:
    encoder = made(post_ln="loaded")
    shaken(encoder.temporal)
    pixels = torch.randn(2, frames, 3, 28, 28)
    tokens = encoder({"pixels": pixels if frames > 1 else pixels[:, 0]}).values
    tower: Any = encoder.eye.tower
    torch.testing.assert_close(tokens[:, :-1], encoder.eye({"pixels": pixels}).values)  # whatever the query reads
    for clip, found in zip(pixels, tokens[:, -1], strict=True):
        states = tower(clip, output_hidden_states=True).hidden_states[2:4]  # after the second and third of three blocks
        query = encoder.temporal.query[0, 0]
        for block, state in zip(encoder.temporal.blocks, states, strict=True):
            assert isinstance(block, GlobalAggregator)
            query = read(block, query, state[:, 1:].reshape(frames, 2, 2, 16))
        norm = tower.post_layernorm
        torch.testing.assert_close(
            found, F.layer_norm(query, (16,), norm.weight, norm.bias, 1e-6), atol=1e-4, rtol=1e-4
        )


@torch.no_grad()
def test_the_order_of_frames_counts() -> None:
    encoder = made()
    shaken(encoder.temporal)
    pixels = torch.randn(1, 3, 3, 28, 28)
    there, back = (encoder({"pixels": x}).values[:, -1] for x in (pixels, pixels.flip(1)))
    assert not torch.allclose(there, back, atol=1e-3)
    for block in encoder.temporal.blocks:  # without the convolution nothing says when
        nn.init.zeros_(block.place.weight)
    there, back = (encoder({"pixels": x}).values[:, -1] for x in (pixels, pixels.flip(1)))
    torch.testing.assert_close(there, back, atol=1e-4, rtol=1e-4)


def test_the_tower_stays_frozen_while_the_query_learns() -> None:
    encoder = made(dropout=0.0)
    encoder.eye.requires_grad_(False)
    clip, other = torch.randn(2, 3, 3, 28, 28)
    optimizer = torch.optim.Adam(encoder.temporal.parameters(), lr=1e-2)
    wanted, losses = torch.randn(2, 16), []
    for _ in range(40):
        loss = (encoder({"pixels": torch.stack([clip, other])}).values[:, -1] - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.temporal.parameters())
    assert all(p.grad is None for p in encoder.eye.parameters())
    assert sum(p.numel() for p in encoder.parameters()) > sum(p.numel() for p in encoder.temporal.parameters())


def test_what_it_reads_and_refuses() -> None:
    encoder = made()
    film = encoder.transform(Video(torch.zeros(9, 3, 20, 30, dtype=torch.uint8), 3.0))
    assert film["pixels"].shape == (3, 3, 28, 28)
    assert encoder.transform(Image(torch.zeros(3, 20, 30, dtype=torch.uint8)))["pixels"].shape == (3, 28, 28)
    with pytest.raises(ValueError, match="depth: 4 is not within 1 and 3, the tower's blocks"):
        made(depth=4)
    with pytest.raises(ValueError, match="depth: 3 is not within 1 and 2"):
        made(depth=3, blocks=2)


def test_the_published_sizes() -> None:
    """Width 1408 and 8 blocks are published; the kernel of 3 and the MLP of 4 widths are ours, see the module."""
    width = 1408
    block = 27 * width + width + 4 * (width**2 + width) + 8 * width**2 + 5 * width + 3 * 2 * width
    with torch.device("meta"):
        encoder = EvaVideoEncoder(config={"image_size": 224}, post_ln="none")
    assert sum(p.numel() for p in encoder.temporal.parameters()) == 8 * block + width
    assert sum(p.numel() for p in encoder.eye.parameters()) == 985_952_256 - 2 * width
