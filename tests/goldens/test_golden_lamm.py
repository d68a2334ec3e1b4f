"""LAMM's eye for point clouds from the tokenizer's output on: places, CLIP's blocks, task tokens, the projector."""

from __future__ import annotations

import pytest
from golden import Case, cases, required
from test_golden_resamplers import Part, Parts, layers

from anyx.encoders.points import PointCloudEncoder
from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Tokens

UNUSED = ("class_embedding", "positional_embedding", "proj", "conv1.weight", "ln_post.weight", "ln_post.bias")


@pytest.mark.parametrize("found", cases("16_lamm", "pointcloud_vit_and_projector*"))
def test_point_cloud_encoder(found: Case | None) -> None:
    case = required(found)
    clip, sizes = "encoder.clip_vit.", case.sizes
    prefix = f"{clip}transformer.resblocks."
    tasks, width = case.shapes["te_encoder.embedding.weight"]
    given = case.part("in")
    encoder = PointCloudEncoder(
        width=width,
        layers=len(layers(case, prefix)),
        heads=sizes["heads"],
        tokens=given["feats"].shape[1],
        tasks=tasks,
    ).eval()
    dim_out = case.shapes["llama_proj.weight"][0]
    projector = LinearInputProjector(width, dim_out)
    modules = {"encoder.pos_embed.0": encoder.positions[0], "encoder.pos_embed.2": encoder.positions[2]}
    modules |= {f"{clip}ln_pre": encoder.norm_pre, "llama_proj": projector.proj}
    assert encoder.task_map is not None
    modules |= {"te_encoder.trans.0": encoder.task_map[0], "te_encoder.trans.2": encoder.task_map[2]}
    parts = Parts({"te_encoder.embedding.weight": Part(encoder.task_embedding)})
    for i in layers(case, prefix):
        block, theirs = encoder.blocks[i], f"{prefix}{i}."
        for kind in ("weight", "bias"):
            parts[f"{theirs}attn.in_proj_{kind}"] = Part(getattr(block.attn, f"in_proj_{kind}"))
        modules |= {f"{theirs}ln_1": block.norm_1, f"{theirs}ln_2": block.norm_2}
        modules |= {f"{theirs}mlp.c_fc": block.mlp.fc1, f"{theirs}mlp.c_proj": block.mlp.fc2}
        modules |= {f"{theirs}attn.out_proj": block.attn.out_proj}
    for name, module in modules.items():
        parts |= {f"{name}.weight": Part(module.weight), f"{name}.bias": Part(module.bias)}
    unused = {f"{clip}{name}" for name in UNUSED}
    parts.fill({name: tensor for name, tensor in case.weights().items() if name not in unused})
    for frozen in (encoder.norm_pre, encoder.blocks):  # their CLIP learns nothing
        frozen.requires_grad_(False)
    features = given["feats"].requires_grad_()
    tokens = encoder.states(features, given["xyz"])
    some = tokens[:, : sizes["nv"]]
    outputs = {"tokens": tokens, "inputs_llama": projector(Tokens.full(some)).values}
    outputs["task_emb"] = encoder.task_map(encoder.task_embedding)[None].expand(len(features), -1, -1)
    case.compare(outputs)
    case.compare_gradients(outputs, {"feats": features}, parts)  # type: ignore[arg-type]
    encoder.task_map = None
    case.compare({"tokens_no_task": encoder.states(features, given["xyz"])})
