"""Qwen-VL's eye: the bigG tower, its resampler and the two layers after it, from pixels to the LLM's width."""

from __future__ import annotations

import pytest
import torch
from golden import Case, cases, required
from test_golden_resamplers import Part, Parts, layers, pooled
from torch import Tensor

from anyx.encoders.vit import ViTEncoder
from anyx.interfaces import Tokens

EPS = 1e-6  # the tower hands its own to all norms


def apart(fused: Tensor, heads: int) -> Tensor:
    """Rows of q, k and v as ours are, of a map whose rows are q, k and v of one head after another."""
    return fused.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)


@pytest.mark.parametrize("found", cases("09_qwen_vl", "vision_transformer*"))
def test_vision_transformer(found: Case | None) -> None:
    case = required(found)
    shapes, prefix = case.shapes, "transformer.resblocks."
    width, _, patch, _ = shapes["conv1.weight"]
    heads = case.sizes["heads"]
    encoder = ViTEncoder(
        width=width,
        layers=len(layers(case, prefix)),
        heads=heads,
        hidden=shapes[f"{prefix}0.mlp.c_fc.weight"][0],
        patch=patch,
        size=case.sizes["img"],
        table=round(shapes["positional_embedding"][0] ** 0.5),
        class_token=False,
        norm_pre=True,
        eps=EPS,
    ).eval()
    weights = case.weights()
    weights.pop("attn_pool.pos_embed")
    _, projector, resampler = pooled(case, "attn_pool.", EPS)
    parts = Parts({f"attn_pool.{name}": part for name, part in resampler.items()})
    norm, proj = projector.norm_after, projector.proj_out
    parts |= {"ln_post.weight": Part(norm.weight), "ln_post.bias": Part(norm.bias), "proj": Part(proj.weight)}
    weights["proj"] = weights["proj"].T
    parts |= {"conv1.weight": Part(encoder.stem.weight), "positional_embedding": Part(encoder.positions)}
    parts |= {f"ln_pre.{kind}": Part(getattr(encoder.norm_pre, kind)) for kind in ("weight", "bias")}
    for i in layers(case, prefix):
        block, theirs = encoder.blocks[i], f"{prefix}{i}."
        modules = {"ln_1": block.norm_1, "ln_2": block.norm_2, "attn.out_proj": block.attn.out_proj}
        modules |= {"mlp.c_fc": block.mlp.fc1, "mlp.c_proj": block.mlp.fc2}
        for name, module in modules.items():
            parts |= {f"{theirs}{name}.weight": Part(module.weight), f"{theirs}{name}.bias": Part(module.bias)}
        parts[f"{theirs}attn.in_proj.weight"] = Part(block.attn.in_proj_weight)
        parts[f"{theirs}attn.in_proj.bias"] = Part(block.attn.in_proj_bias)
        for kind in ("weight", "bias"):
            weights[f"{theirs}attn.in_proj.{kind}"] = apart(weights[f"{theirs}attn.in_proj.{kind}"], heads)
    parts.fill(weights)
    with torch.no_grad():
        tokens: Tokens = encoder({"pixels": case.part("in")["x"]})
        case.compare({"y": projector(tokens).values})
