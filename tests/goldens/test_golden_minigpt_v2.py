"""MiniGPT-v2's way from EVA-CLIP's tokens to the LLM: LayerNorm, no class token, stacks of neighbours, one map."""

from __future__ import annotations

import pytest
import torch
from golden import Case, cases, required
from torch import nn

from anyx.input_projectors import StackInputProjector
from anyx.interfaces import Tokens


@pytest.mark.parametrize("found", cases("08_minigpt_v2", "encode_img*"))
def test_encode_img(found: Case | None) -> None:
    case = required(found)
    dim_out, stacked = case.shapes["llama_proj.weight"]
    (dim,) = case.shapes["ln_vision.weight"]
    norm, projector = nn.LayerNorm(dim), StackInputProjector(dim, dim_out, k=stacked // dim)
    theirs = nn.ModuleDict({"ln_vision": norm, "llama_proj": projector.proj})
    theirs.load_state_dict(case.weights())
    x = case.part("in")["vit_feats"].requires_grad_()
    tokens = projector(Tokens.full(norm(x)[:, 1:]))
    case.compare({"inputs_llama": tokens.values})
    assert torch.equal(tokens.mask.long(), case.part("out")["atts"])
    case.compare_gradients({"inputs_llama": tokens.values}, {"vit_feats": x}, theirs)
