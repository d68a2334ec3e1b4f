"""Layers against torch's own modules, and what the goldens do not reach: masks, contexts, resampling."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyx.layers import Attention, Block, Standardise


@pytest.mark.parametrize("bias_kv", [False, True])
def test_attention_is_torch_s_own(bias_kv: bool) -> None:
    ours = Attention(12, 3, bias_kv=bias_kv)
    torchs = nn.MultiheadAttention(12, 3, add_bias_kv=bias_kv, batch_first=True)
    torchs.load_state_dict(ours.state_dict())  # the same names
    x, context = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    mask = torch.arange(7) < torch.tensor([[7], [3]])
    torch.testing.assert_close(ours(x), torchs(x, x, x)[0])
    torch.testing.assert_close(ours(x, context, mask=mask), torchs(x, context, context, key_padding_mask=~mask)[0])


def test_causal_attention_never_looks_ahead() -> None:
    attention, x = Attention(8, 2), torch.randn(1, 6, 8)
    changed = x.clone()
    changed[:, 4:] += 1
    torch.testing.assert_close(attention(x, causal=True)[:, :4], attention(changed, causal=True)[:, :4])
    assert not torch.allclose(attention(x)[:, :4], attention(changed)[:, :4])


def test_heads_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match="dim=10, heads=4"):
        Attention(10, 4)


def test_block_leaves_padding_out() -> None:
    block, x = Block(8, 2), torch.randn(1, 5, 8)
    mask = torch.tensor([[True, True, True, False, False]])
    torch.testing.assert_close(block(x, mask=mask)[:, :3], block(x[:, :3]))


def test_standardised_features_leave_padding_out() -> None:
    x, mask = torch.randn(2, 5, 3), torch.arange(5) < torch.tensor([[5], [2]])
    padded, real = Standardise(3), Standardise(3)
    padded(x, mask)
    real(x[mask][None])
    assert torch.equal(padded.running_mean, real.running_mean)
    assert torch.equal(padded.running_var, real.running_var)
    full, none = Standardise(3), Standardise(3)
    assert torch.equal(full(x, torch.ones(2, 5, dtype=torch.bool)), none(x))  # to the bit
    assert torch.equal(full.running_var, none.running_var)


def test_standardised_features_follow_what_is_fed_last() -> None:
    torch.manual_seed(0)
    everything, lately = Standardise(2), Standardise(2, memory=5)
    batches = [torch.randn(8, 3, 2) + shift for shift in [0.0] * 40 + [9.0] * 40]
    for batch in batches:
        everything(batch)
        lately(batch)
    seen = torch.cat(batches).flatten(0, 1)
    torch.testing.assert_close(everything.running_mean, seen.mean(0))
    torch.testing.assert_close(everything.running_var, seen.var(0), rtol=0.02, atol=0)  # not that within batches
    torch.testing.assert_close(lately.running_mean, seen[-480:].mean(0), atol=0.2, rtol=0)
    said, same = lately.eval()(batches[-1]), lately(batches[-1])
    assert torch.equal(said, same)
    assert said.std() == pytest.approx(1, abs=0.3)
