"""Qwen-VL's eye: the bigG tower, its resampler and the two layers after it, from pixels to the LLM's width.

The published weights become ours by the rules of the converter.
"""

from __future__ import annotations

import pytest
import torch
from golden import Case, cases, required
from test_golden_resamplers import layers

from anyx.converters.keys import Layout
from anyx.converters.qwen_vl import OURS, POSITIONS, TOWER, WORDS, turned, visual_rules
from anyx.encoders.vit import ViTEncoder
from anyx.resampling import ResamplerInputProjector

EPS = 1e-6  # the tower hands its own to all norms


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
    dim = shapes["proj"][0]
    tokens = shapes["attn_pool.query"][0]
    projector = ResamplerInputProjector(width, dim, preset="qwen", tokens=tokens, heads=dim // 128, eps=EPS).eval()
    weights = case.weights()
    match = Layout(visual_rules(""), WORDS).classify({name: tuple(x.shape) for name, x in weights.items()})
    assert match.faults == 0
    ours = {match.names[name]: turned(match.names[name], x, heads, back=False) for name, x in weights.items()}
    del ours[POSITIONS]
    for module, prefix in ((encoder, TOWER), (projector, OURS)):
        module.load_state_dict({name.removeprefix(prefix): x for name, x in ours.items() if name.startswith(prefix)})
    with torch.no_grad():
        case.compare({"y": projector(encoder({"pixels": case.part("in")["x"]})).values})
