"""BEATs: its layers are WavLM's but for a scale and what the gate reads; the rest is said again in loops.

Expected values of the layers, of the convolution of places and of the buckets come from transformers' WavLM on shared
random weights. No published code of BEATs runs here.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WavLMConfig
from transformers.models.wavlm.modeling_wavlm import WavLMEncoder

from anyx.encoders.beats import BeatsEncoder, BeatsLayer, bucketed
from anyx.media import Audio, Image

TINY = {"width": 16, "layers": 2, "heads": 2, "hidden": 24, "patch": 16, "embed": 6, "mels": 32, "kernel": 4}
TINY |= {"groups": 2, "buckets": 16, "distance": 20, "seconds": 0.5}


def made(**given: Any) -> Any:
    torch.manual_seed(0)
    encoder = BeatsEncoder(**{**TINY, **given}).eval()
    for module in encoder.modules():  # far enough apart that distances and gates tell
        for name, parameter in module.named_parameters(recurse=False):
            nn.init.normal_(parameter, std=2 if isinstance(module, nn.Embedding) else 0.4)
            if isinstance(module, nn.LayerNorm) and name == "weight":
                nn.init.uniform_(parameter, 0.5, 1.5)
    return encoder


def wavlm(encoder: Any) -> Any:
    """transformers' layers with an encoder's weights."""
    config = WavLMConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        num_buckets=16,
        max_bucket_distance=20,
        layerdrop=0.0,
    )
    other: Any = WavLMEncoder(config).eval()
    other.pos_conv_embed.conv.weight = encoder.places.weight.detach()  # through its weight norm
    other.pos_conv_embed.conv.bias.data = encoder.places.bias.data
    other.layer_norm.load_state_dict(encoder.norm_pre.state_dict())
    other.layers[0].attention.rel_attn_embed.weight.data = encoder.near.weight.data
    for theirs, ours in zip(other.layers, encoder.layers, strict=True):
        pairs = {
            theirs.attention.q_proj: ours.attn.q,
            theirs.attention.k_proj: ours.attn.k,
            theirs.attention.v_proj: ours.attn.v,
            theirs.attention.out_proj: ours.attn.out,
            theirs.attention.gru_rel_pos_linear: ours.attn.opens,
            theirs.layer_norm: ours.norm_1,
            theirs.feed_forward.intermediate_dense: ours.mlp.fc1,
            theirs.feed_forward.output_dense: ours.mlp.fc2,
            theirs.final_layer_norm: ours.norm_2,
        }
        for their, our in pairs.items():
            their.load_state_dict(our.state_dict())
        theirs.attention.gru_rel_pos_const.data = ours.attn.scale.data[None, ..., None]
    return other


@torch.no_grad()
def test_the_layers_are_wavlms() -> None:
    encoder = made(residual=1.0, gate="states")
    other = wavlm(encoder)
    x = torch.randn(2, 40, 16)
    every = torch.ones(2, 40, dtype=torch.bool)
    wanted = other(x.clone()).last_hidden_state
    assert wanted.std() > 0.1
    torch.testing.assert_close(encoder.states(x, every), wanted, atol=1e-5, rtol=1e-5)
    some = every.clone()
    some[1, 25:] = False
    wanted = other(x.clone(), attention_mask=some).last_hidden_state
    torch.testing.assert_close(encoder.states(x, some)[some], wanted[some], atol=1e-5, rtol=1e-5)
    gated, seen = made(residual=1.0), encoder.states(x, every)
    assert (gated.states(x, every) - seen).abs().max() > 0.1
    encoder.layers[1].attn.opens.weight.zero_()
    assert (encoder.states(x, every) - seen).abs().max() > 0.1


def said(layer: BeatsLayer, rows: Tensor, near: Tensor) -> Tensor:
    """One layer on one clip (n, d), with the table of the distances (n, n) -> heads."""
    attn, after = layer.attn, []
    q, k, v = ([linear.weight @ row + linear.bias for row in rows] for linear in (attn.q, attn.k, attn.v))
    width = len(rows[0]) // attn.heads
    for i, row in enumerate(rows):
        heads = []
        for head in range(attn.heads):
            mine = slice(head * width, (head + 1) * width)
            opened = attn.opens.weight @ q[i][mine] + attn.opens.bias
            update, reset = opened[:4].sum().sigmoid(), opened[4:].sum().sigmoid()
            logits = []
            for j in range(len(rows)):
                d = near[i, j, head]
                candidate = attn.scale[head, 0] * reset * d  # the gated unit's own words
                logits.append(q[i][mine] @ k[j][mine] / width**0.5 + d + (1 - update) * d + update * candidate)
            shares = torch.stack(logits).softmax(0)
            heads.append(sum(share * value[mine] for share, value in zip(shares, v, strict=True)))
        added = attn.out.weight @ torch.cat(heads) + attn.out.bias
        row = F.layer_norm(layer.residual * row + added, (len(row),), layer.norm_1.weight, layer.norm_1.bias)
        added = layer.mlp.fc2.weight @ F.gelu(layer.mlp.fc1.weight @ row + layer.mlp.fc1.bias) + layer.mlp.fc2.bias
        after.append(F.layer_norm(layer.residual * row + added, (len(row),), layer.norm_2.weight, layer.norm_2.bias))
    return torch.stack(after)


@torch.no_grad()
def test_the_gate_reads_queries_and_states_are_scaled() -> None:
    encoder = made(layers=3)
    layer = encoder.layers[0]
    assert isinstance(layer, BeatsLayer)
    assert layer.residual == pytest.approx(6**0.25)
    x = torch.randn(2, 7, 16)
    near = encoder.near(bucketed(7, 16, 20, x.device))
    found = layer(x, near.permute(2, 0, 1), torch.ones(2, 7, dtype=torch.bool))
    torch.testing.assert_close(found, torch.stack([said(layer, rows, near) for rows in x]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("buckets", "distance"), [(16, 20), (320, 800)])
def test_buckets_grow_with_the_distance(buckets: int, distance: int) -> None:
    found = bucketed(1000, buckets, distance, torch.device("cpu"))
    half, own = buckets // 2, buckets // 4
    for away in (0, 1, own - 1, own, own + 1, 2 * own - 1, distance - 1, distance, 999):
        step = away
        if away >= own:
            step = min(half - 1, own + int(math.log(away / own) / math.log(distance / own) * (half - own) + 1e-6))
        assert found[0, away] == step + half * (away > 0)  # ahead
        assert found[away, 0] == step  # behind
    assert found.unique().numel() == buckets - 1  # no place lies ahead by nothing


@torch.no_grad()
def test_patches_are_read_time_after_time() -> None:
    encoder = made(seconds=0.66)
    wave = torch.randn(1, round(0.66 * 16000)) * 0.1
    given = encoder.transform(Audio(wave, 16000))
    mel = given["mel"]
    assert mel.shape == (1, 64, 32)
    rows = []
    for time in range(4):
        for bins in range(2):
            patch = mel[0, 16 * time : 16 * time + 16, 16 * bins : 16 * bins + 16]
            rows.append(F.layer_norm((encoder.stem.weight[:, 0] * patch).sum((1, 2)), (6,)))
    x = torch.stack([encoder.widen(r * encoder.norm_stem.weight + encoder.norm_stem.bias) for r in rows])[None]
    wanted = encoder.states(x, torch.ones(1, 8, dtype=torch.bool))
    found = encoder({name: value[None] for name, value in given.items()})
    torch.testing.assert_close(found.values, wanted, atol=1e-5, rtol=1e-5)
    assert found.mask.all()


@torch.no_grad()
def test_silence_that_pads_is_not_heard() -> None:
    whole, short = made(seconds=1.0), made(seconds=0.5)
    wave = torch.randn(1, 8000) * 0.1
    padded = whole({name: x[None] for name, x in whole.transform(Audio(wave, 16000)).items()})
    alone = short({name: x[None] for name, x in short.transform(Audio(wave, 16000)).items()})
    assert (padded.mask.sum(), alone.mask.sum(), padded.values.shape[1]) == (6, 6, 12)
    torch.testing.assert_close(padded.values[padded.mask], alone.values[0], atol=1e-4, rtol=1e-4)
    click = whole.transform(Audio(wave[:, :50], 16000))
    tokens = whole({name: x[None] for name, x in click.items()})
    assert tokens.mask.sum() == 2
    assert tokens.values.isfinite().all()


def test_clips_lie_evenly_over_a_longer_sound() -> None:
    encoder = made(clips=2)
    wave = torch.randn(1, 32000) * 0.1
    given = encoder.transform(Audio(wave, 16000))
    assert given["mel"].shape == (2, 48, 32)
    later = made().transform(Audio(wave[:, 12000:20000], 16000))  # 2 s less half a second, of two clips
    torch.testing.assert_close(given["mel"][1], later["mel"][0])
    with torch.no_grad():
        both = encoder({name: x[None] for name, x in given.items()}).values
        second = encoder({name: x[None, 1:] for name, x in given.items()}).values
    assert both.shape == (1, 12, 16)
    torch.testing.assert_close(both[:, 6:], second)
    resampled = encoder.transform(Audio(wave.repeat(2, 1), 8000))["mel"]
    assert resampled.shape == (2, 48, 32)


def test_the_filter_bank_is_normalised() -> None:
    """A tone of 1 kHz stands out where the mel scale has it, in the units of 16-bit samples."""
    encoder = BeatsEncoder(**{**TINY, "mels": 128})  # type: ignore[arg-type]
    tone = torch.sin(torch.arange(8000) * 2 * math.pi * 1000 / 16000)[None]
    mel = encoder.transform(Audio(tone * 0.5, 16000))["mel"][0]

    def mels(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    wanted = (mels(1000) - mels(20)) / (mels(8000) - mels(20)) * 129 - 1  # Kaldi's triangles from 20 Hz to 8 kHz
    assert abs(mel.mean(0).argmax().item() - wanted) <= 1
    louder = encoder.transform(Audio(tone, 16000))["mel"][0]
    peak = mel.mean(0).argmax()
    assert (louder - mel)[:, peak].mean().item() == pytest.approx(math.log(4) / (2 * 6.55582), abs=1e-3)
    quiet = encoder.transform(Audio(tone * 0, 16000))["mel"]
    assert quiet.mean().item() == pytest.approx((math.log(torch.finfo(torch.float32).eps) - 15.41663) / 13.11164)


def test_gradients_and_what_is_refused() -> None:
    encoder = made()
    given = encoder.transform(Audio(torch.randn(1, 8000) * 0.1, 16000))
    (encoder({name: x[None] for name, x in given.items()}).values * torch.randn(16)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    with pytest.raises(ValueError, match="reads Audio, given Image"):
        encoder.transform(Image(torch.zeros(3, 4, 4, dtype=torch.uint8)))
    for wrong, told in (
        ({"mels": 30}, "given 30 by 16, 16 by 2 and by 2"),
        ({"heads": 3}, "given 32 by 16, 16 by 3 and by 2"),
        ({"clips": 0}, "clips and seconds: 0 of 0.5 given; at least 1 of 0.175"),
        ({"seconds": 0.1}, "clips and seconds: 1 of 0.1 given"),
        ({"distance": 4}, "given 16 and 4"),
        ({"gate": "keys"}, "gate: 'keys' is not one of queries, states"),
    ):
        with pytest.raises(ValueError, match=told):
            made(**wrong)


def test_the_published_sizes() -> None:
    """Summed from the sizes; the paper's 90 M are of 12 layers, 768 wide."""
    with torch.device("meta"):
        encoder = BeatsEncoder()
    stem = 512 * 16**2 + 2 * 512 + 513 * 768 + 768 * 48 * 128 + 768 + 2 * 768
    layer = 4 * 769 * 768 + 65 * 8 + 12 + 769 * 3072 + 3073 * 768 + 4 * 768
    count = sum(p.numel() for p in encoder.parameters())
    assert count == stem + 12 * layer + 320 * 12
    assert count == pytest.approx(90e6, rel=0.01)
    mel, heard = torch.zeros(1, 2, 498, 128, device="meta"), torch.zeros(1, 2, dtype=torch.long, device="meta")
    assert encoder({"mel": mel, "heard": heard}).values.shape == (1, 2 * 31 * 8, 768)
