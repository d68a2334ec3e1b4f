"""NExT-GPT v2's input projectors: linear, mlp, and the grouping of patches with which group each one joins."""

from __future__ import annotations

import pytest
import torch
from golden import Case, cases, required
from torch import nn

from anyx.grouping import Assignment, GroupingInputProjector
from anyx.input_projectors import LinearInputProjector, MLPInputProjector
from anyx.interfaces import Tokens


@pytest.mark.parametrize("found", cases("03_nextgpt_v2", "input_projectors*"))
def test_linear_and_mlp(found: Case | None) -> None:
    case = required(found)
    dim_out, dim_in = case.shapes["linear.weight"]
    layers = sum(key.startswith("mlp.layer.") and key.endswith(".weight") for key in case.shapes)
    linear = LinearInputProjector(dim_in, dim_out)
    mlp = MLPInputProjector(dim_in, dim_out, layers=layers, hidden=case.shapes["mlp.layer.0.weight"][0])
    theirs = nn.ModuleDict({"linear": linear.proj, "mlp": nn.ModuleDict({"layer": mlp.proj})})
    theirs.load_state_dict(case.weights())
    x = case.part("in")["x"].requires_grad_()
    outputs = {name: part(Tokens.full(x[:, None])).values[:, 0] for name, part in (("linear", linear), ("mlp", mlp))}
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x}, theirs)


def count(case: Case, prefix: str) -> int:
    """How many numbered modules follow a prefix."""
    return len({key.removeprefix(prefix).split(".")[0] for key in case.shapes if key.startswith(prefix)})


def grouping(case: Case) -> GroupingInputProjector:
    shapes, stages = case.shapes, range(count(case, "layers."))
    hidden, dim_in = shapes["in_fc.weight"]
    ends = [f"layers.{stage}.downsample.mlp_inter." for stage in stages[:-1]]
    given = {"heads": case.sizes["num_heads"]} if "num_heads" in case.sizes else {}
    return GroupingInputProjector(
        dim_in,
        shapes["out_fc.weight"][0],
        groups=[shapes[f"{end}fc2.weight"][0] for end in ends],
        group_tokens=[shapes[f"{end}fc1.weight"][1] for end in ends],
        depths=[count(case, f"layers.{stage}.blocks.") for stage in stages],
        hidden=hidden,
        mlp_ratio=shapes["layers.0.blocks.0.mlp.fc1.weight"][0] // hidden,
        **given,  # the unpatched case says "defaults", which are ours too
    ).eval()


@pytest.mark.parametrize("found", cases("03_nextgpt_v2", "group_projector*"))
def test_grouping(found: Case | None) -> None:
    case = required(found)
    projector = grouping(case)
    projector.load_state_dict(case.weights())
    scores: list[torch.Tensor] = []

    def note(module: Assignment, given: tuple[torch.Tensor, ...]) -> None:
        scores.append(module.scores(*given[:2]).detach())

    for stage in projector.layers[:-1]:
        stage.downsample.assign.register_forward_pre_hook(note)
    x = case.part("in")["x"].requires_grad_()
    outputs = {"y": projector(Tokens.full(x)).values}
    tops = [score.topk(2, dim=1) for score in scores]
    case.compare(
        outputs | {f"assign_margin_stage{i}": top.values[:, 0] - top.values[:, 1] for i, top in enumerate(tops)}
    )
    for i, top in enumerate(tops):
        assert torch.equal(top.indices[:, 0], case.tensors[f"out.assign_index_stage{i}"])
    case.compare_gradients(outputs, {"x": x}, projector)
