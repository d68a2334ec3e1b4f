"""What lives inside LLM layers, against the published modules: Flamingo's gated block and CogVLM's visual expert."""

from __future__ import annotations

import pytest
import torch
from golden import Case, cases, required
from meta import Joined, Renamed
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from anyx.adapters.body import Body, Frame, published
from anyx.adapters.gated import GatedBlock, GatedCrossAttention
from anyx.adapters.positions import SharedPositions
from anyx.adapters.routed import Routed
from anyx.context import Context
from anyx.interfaces import Layout, Placed, Tokens


def body(dim: int, heads: int, hidden: int, base: float = 10000.0) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=2,
        hidden_size=dim,
        intermediate_size=hidden,
        num_hidden_layers=1,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    return LlamaForCausalLM(config).eval()


def layout(mask: Tensor) -> Layout:
    return Layout(torch.zeros(*mask.shape, 1), torch.ones_like(mask), torch.ones_like(mask))


@pytest.mark.parametrize("found", cases("10_flamingo", "gated_cross_attention*"))
def test_gated_cross_attention(found: Case | None) -> None:
    """What a position sees is the adapter's own reading of where the media stand."""
    case = required(found)
    inputs = case.part("in")
    x, media, locations = inputs["x"].requires_grad_(), inputs["media"].requires_grad_(), inputs["media_locations"]
    dim, dim_media, heads = x.shape[-1], media.shape[-1], case.sizes["heads"]
    outputs: dict[str, Tensor] = {}
    blocks = nn.ModuleDict()
    for name, sees in (("immediate", "last"), ("all_previous", "all")):
        hidden, head_dim = case.shapes[f"{name}.ff.1.weight"][0], case.shapes[f"{name}.attn.to_q.weight"][0] // heads
        sizes = {"heads": heads, "head_dim": head_dim, "mlp_ratio": hidden // dim}
        adapter = GatedCrossAttention(Body(body(dim, 1, 1)), name, dim=dim_media, sees=sees, **sizes)
        block = blocks[name] = adapter.layers["0"]
        assert isinstance(block, GatedBlock)
        block.load_state_dict(
            {key.removeprefix(f"{name}."): w for key, w in case.weights().items() if key.startswith(f"{name}.")}
        )
        rows, starts = locations.nonzero(as_tuple=True)
        order = torch.cat([torch.arange(int(count)) for count in locations.sum(1)])
        read = adapter.read(layout(locations), [Placed(rows, starts, Tokens.full(media[rows, order]), starts)])
        flat = media.flatten(1, 2)
        more = (0, flat.shape[1] - read.rows["media"].shape[1])  # media that no row's text shows
        visible, later = (F.pad(where["visible"], more) for where in (read.places, read.after))
        shown = read.after["visible"][:, 0]
        assert torch.equal(read.rows["media"][shown], flat[later[:, 0]])
        # The reference lets the words before all media look at every medium where all previous ones are seen.
        blind = "nothing" if sees == "last" else "all"
        outputs[name] = block(x, flat, visible, blind=blind)
        outputs[f"{name}.no_locations"] = block(x, flat, torch.ones_like(visible), blind=blind)
        cached = next(key for key in case.part("out") if key.startswith(f"{name}.cached_last"))
        last = case.tensors[f"out.{cached}"].shape[1]
        outputs[cached] = block(x[:, -last:], flat, later.expand(-1, last, -1), blind=blind)
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x, "media": media}, blocks)


@pytest.mark.parametrize("found", cases("14_cogvlm", "visual_expert*"))
def test_visual_expert(found: Case | None) -> None:
    case = required(found)
    inputs, spans = case.part("in"), case.sizes["vis"]
    x, routed = inputs["x"].requires_grad_(), inputs["vision_mask"]
    model = body(case.sizes["h"], case.sizes["heads"], case.sizes["ff"], case.sidecar["rotary"]["base"])
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    hooks = Body(model)
    expert, plan = Routed(hooks, "expert", modules=modules), SharedPositions(hooks, "plan")

    counts = torch.tensor([end - start for start, end in spans])
    tokens = Tokens(torch.zeros(len(spans), int(counts.max()), 1), torch.arange(int(counts.max())) < counts[:, None])
    starts = torch.tensor([start for start, _ in spans])
    media = [Placed(torch.arange(len(spans)), starts, tokens, starts)]
    laid = layout(routed)
    assert torch.equal(expert.read(laid, media).places["routed"], routed)
    positions = Context({"plan": plan.read(laid, media)}).positions(laid.mask, routed.shape[1])
    assert torch.equal(positions, inputs["position_ids"])

    layer = model.model.layers[0]
    names = Renamed()
    mine = expert.get_submodule("layers.0")
    for kind, where in (("attention.query_key_value", layer), ("attn_mixin.vision_query_key_value_list.0", mine)):
        parts = [where.get_parameter(f"self_attn.{side}_proj.weight") for side in "qkv"]
        names.add(f"{kind}.weight", Joined(*parts))
    single = {
        "attention.dense": (layer, "self_attn.o_proj"),
        "attn_mixin.vision_dense_list.0": (mine, "self_attn.o_proj"),
        "mlp_mixin.gate_proj.0": (layer, "mlp.gate_proj"),
        "mlp.dense_h_to_4h": (layer, "mlp.up_proj"),
        "mlp.dense_4h_to_h": (layer, "mlp.down_proj"),
        "mlp_mixin.vision_gate_proj.0": (mine, "mlp.gate_proj"),
        "mlp_mixin.vision_dense_h_to_4h_list.0": (mine, "mlp.up_proj"),
        "mlp_mixin.vision_dense_4h_to_h_list.0": (mine, "mlp.down_proj"),
    }
    for name, (where, path) in single.items():
        names.add(f"{name}.weight", where.get_parameter(f"{path}.weight"))
    weights = case.weights()
    torch.testing.assert_close(model.model.rotary_emb.inv_freq, weights.pop("attn_mixin.rotary_emb.inv_freq"))
    names.load(weights)

    turn = model.model.rotary_emb(x, inputs["position_ids"])
    outputs: dict[str, Tensor] = {}
    for end, mask in (("", routed), ("_text_only", torch.zeros_like(routed))):
        with published(Frame({"expert": {"routed": mask}})):
            outputs[f"attn{end}"], _ = layer.self_attn(x, position_embeddings=turn)
        with published(Frame({"expert": {"routed": mask}})):
            outputs[f"mlp{end}"] = layer.mlp(x)
    case.compare(outputs)
    case.compare_gradients(outputs, {"x": x}, names)  # type: ignore[arg-type]
