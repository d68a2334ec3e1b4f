"""Maps in pieces and in another order, and tables that are held against their formulas."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyx.config import load
from anyx.converters.pieces import QKV, by_head, by_kind, cut, hold, joined, require_heads

MODELS = Path(__file__).parent.parent.parent / "configs" / "models"


def test_cut_and_joined() -> None:
    fused = {"a.self_attn.qkv_proj.weight": torch.randn(6, 5), "a.self_attn.qkv_proj.bias": torch.randn(6)}
    fused |= {"a.norm.weight": torch.randn(5)}
    apart = cut(fused, *QKV)
    assert torch.equal(apart["a.self_attn.k_proj.weight"], fused["a.self_attn.qkv_proj.weight"][2:4])
    again = joined(apart, *QKV)
    assert again.keys() == fused.keys()
    assert all(torch.equal(again[name], x) for name, x in fused.items())
    del apart["a.self_attn.k_proj.bias"]
    assert "a.self_attn.q_proj.bias" in joined(apart, *QKV)  # it will be named as unknown


@pytest.mark.parametrize("shape", [(24, 5), (24,)])
def test_rows_by_kind_and_by_head(shape: tuple[int, ...]) -> None:
    heads, fused = 4, torch.randn(shape)
    ours = by_kind(fused, heads)
    for kind in range(3):
        for head in range(heads):
            theirs = fused[(head * 3 + kind) * 2 :][:2]
            assert torch.equal(ours[kind * 8 + head * 2 :][:2], theirs)
    assert torch.equal(by_head(ours, heads), fused)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tables_are_held(dtype: torch.dtype) -> None:
    formula = torch.linspace(-1, 1, 50)
    hold("x", formula.to(dtype), formula)
    for other in (formula.flip(0), formula + 0.05, formula * torch.nan):
        with pytest.raises(ValueError, match="y is not the table that the model computes in its place"):
            hold("y", other.to(dtype), formula)
    with pytest.raises(ValueError, match="it is 49, where the model computes 50"):
        hold("y", formula[1:].to(dtype), formula)


def test_heads_are_required() -> None:
    require_heads("x", load(MODELS / "mplug_owl.yaml"), 16)
    with pytest.raises(ValueError, match=r"x has a tower of 12 heads; this model's encoders.vision.heads is 16"):
        require_heads("x", load(MODELS / "mplug_owl.yaml"), 12)
    with pytest.raises(ValueError, match="is None"):
        require_heads("x", load(MODELS / "llava15.yaml"), 12)
