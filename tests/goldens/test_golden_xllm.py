"""X-LLM: integrate-and-fire, speech adapter, Q-Former interfaces of pictures and clips: values and gradients."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from golden import Case, cases, required
from torch import Tensor, nn

from anyx.cformer import CFormerInputProjector
from anyx.integrate import Fired, IntegrateAndFire
from anyx.interfaces import Tokens
from anyx.queries import QFormerInputProjector
from anyx.splice import IGNORE, PLACEHOLDER, splice

LAYER = "Qformer.bert.encoder.layer."


class Theirs(nn.Module):
    """Our parts under the reference's names; what it holds and never uses stands beside them."""

    def __init__(self, case: Case, parts: Mapping[str, nn.Module | nn.Parameter]) -> None:
        super().__init__()
        self.parts = nn.Module()
        self.names: dict[str, nn.Parameter] = {}
        weights = {key: x for key, x in case.weights().items() if not key.endswith("position_ids")}
        for prefix, part in parts.items():
            mine = {key: x for key, x in weights.items() if key == prefix or key.startswith(f"{prefix}.")}
            if isinstance(part, nn.Parameter):
                part.data.copy_(mine[prefix])
                self.names[prefix] = part
                continue
            known = {name.removeprefix(f"{prefix}."): x for name, x in mine.items()}
            lacking = [key for key in known if key not in part.state_dict()]
            assert all(case.sidecar["param_grad_l2"][f"{prefix}.{key}"] is None for key in lacking), lacking
            part.load_state_dict({key: x for key, x in known.items() if key not in lacking})
            self.names |= {f"{prefix}.{name}": parameter for name, parameter in part.named_parameters()}
        self.names = {key: nn.Parameter(x) for key, x in weights.items() if key not in self.names} | self.names

    def named_parameters(self, *_: Any, **__: Any) -> Any:
        return list(self.names.items())


def fire(case: Case, *, published: bool) -> tuple[IntegrateAndFire, Tensor, Fired]:
    """A case's frames through our module in its own mode."""
    sizes, shapes = case.sizes, case.shapes
    dim = shapes["weight_proj.weight"][1]
    projected = shapes.get("cif_output_proj.weight", [dim])[0]
    module = IntegrateAndFire(
        dim,
        dim_out=projected,
        kind=sizes["weight_type"],
        width=sizes["conv_width"],
        threshold=sizes["threshold"],
        tail=sizes["tail_threshold"] if sizes["tail"] else None,
        published=published,
    )
    module.load_state_dict(case.weights())
    module.train(sizes["training"])
    given = case.part("in")
    values = given["encoder_raw_out"].requires_grad_()
    count = given.get("target_lengths") if sizes["scaling"] else None
    return module, values, module(values, ~given["encoder_padding_mask"], count)


@pytest.mark.parametrize("found", cases("05_xllm", "cif_*"))
def test_integrate_and_fire(found: Case | None) -> None:
    """Where a target is whole, their last token is there or not by rounding: ours is, and is left out if theirs was."""
    case = required(found)
    module, values, fired = fire(case, published=True)
    known = case.tensors["out.cif_out_mask"].bool()
    ours, real = fired.values * fired.mask[..., None], fired.mask
    if "cif_out" in case.sidecar.get("rounding_sensitive_outputs", ()):
        more = fired.mask.sum(1) - known.sum(1)
        assert ((more == 0) | (more == 1)).all()
        ours, real = ours[:, : known.shape[1]] * known[..., None], known
    outputs = {"cif_out": ours, "cif_out_mask": real, "quantity_out": fired.quantity, "alpha": fired.weights}
    if "out.quantity_loss" in case.tensors:
        outputs["quantity_loss"] = (fired.quantity - case.tensors["in.target_lengths"]).abs().sum()
    case.compare(outputs)
    case.compare_gradients(outputs, {"encoder_raw_out": values}, module)


@pytest.mark.parametrize("found", cases("05_xllm", "cif_*_eval_tail"))
def test_the_last_token_is_lost_there_only(found: Case | None) -> None:
    """One more of the items as long as the batch whose rest is above the tail's threshold, by our own default."""
    case = required(found)
    known = case.tensors["out.cif_out_mask"].sum(1)
    full = ~case.tensors["in.encoder_padding_mask"].any(1)
    rest = case.tensors["out.quantity_out"] - known
    lost = full & (rest > case.sizes["tail_threshold"]) & case.sizes["tail"]
    given = case.tensors["in.encoder_padding_mask"]
    module, values, theirs = fire(case, published=True)
    module.published = False
    module.train(case.sizes["training"])
    ours = module(values * ~given[..., None], ~given)
    exact = case.sizes["weight_type"] != "conv"  # the convolution read padding there, so that its weights differ
    if exact:
        assert torch.equal(ours.mask.sum(1), known + lost)
    assert torch.equal(ours.mask.sum(1)[full], (known + lost)[full])
    assert torch.equal(theirs.mask.sum(1), known)


def wrapped(case: Case, tokens: Tensor, table: Tensor, mask: Tensor | None = None) -> Tensor:
    """Tokens between the words that the formula names, spliced as our model does; ids are those of the notes' stub."""
    before, after = (
        [3 + ord(ch) % 20 for ch in word] for word in re.findall(r"embed\('(.+?)'\)", case.sidecar["formula"])
    )
    rows = torch.arange(len(tokens))
    ids = torch.tensor([*before, PLACEHOLDER, *after]).expand(len(tokens), -1)
    given = Tokens.full(tokens) if mask is None else Tokens(tokens, mask)
    places = (rows, torch.full_like(rows, len(before)), given)
    labels = torch.full_like(ids, IGNORE)
    spliced = splice(table[ids.clamp(min=0)], ids, {"medium": places}, torch.ones_like(ids).bool(), labels)
    return spliced.embeddings if mask is None else spliced.mask.sum(1)


def interface(case: Case, proj: str, *, pieces: int = 1) -> QFormerInputProjector:
    """The Q-Former between the LayerNorm of the eye's tokens and the map to the LLM."""
    shapes = case.shapes
    dim_out, width = shapes[f"{proj}.weight"]
    layers = {int(key.removeprefix(LAYER).split(".")[0]) for key in shapes if key.startswith(LAYER)}
    return QFormerInputProjector(
        shapes["ln_vision.weight"][0],
        dim_out,
        queries=shapes["query_tokens"][1],
        width=width,
        layers=len(layers),
        heads=case.sizes["heads"],
        cross_every=case.sizes["cross_attention_freq"],
        hidden=shapes[f"{LAYER}0.intermediate_query.dense.weight"][0],
        norm=True,
        pieces=pieces,
    ).eval()


@pytest.mark.parametrize("found", cases("05_xllm", "image_interface*"))
def test_image_interface(found: Case | None) -> None:
    case = required(found)
    projector = interface(case, "opt_proj")
    table = nn.Embedding(*case.shapes["word_embeddings.weight"])
    parts = {"ln_vision": projector.norm, "Qformer": projector.qformer, "opt_proj": projector.proj}
    theirs = Theirs(case, {**parts, "query_tokens": projector.query_tokens, "word_embeddings": table})
    features = case.tensors["in.vit_feats"].requires_grad_()
    tokens = projector(Tokens.full(features))
    laid = wrapped(case, tokens.values, table.weight)
    case.compare({"wrapped_atts": torch.ones(laid.shape[:2])})
    outputs = {"proj": tokens.values, "wrapped": laid}
    case.compare(outputs)
    case.compare_gradients(outputs, {"vit_feats": features}, theirs)


@pytest.mark.parametrize("found", cases("05_xllm", "video_interface*"))
def test_video_interface(found: Case | None) -> None:
    """Own queries, every frame by itself; a frame that is padding reaches nothing, and its tokens are none."""
    case = required(found)
    features = case.tensors["in.vit_feats"].requires_grad_()
    items, frames, tokens, _ = features.shape
    projector = interface(case, "video_proj", pieces=frames)
    parts = {"ln_vision": projector.norm, "Qformer": projector.qformer, "video_proj": projector.proj}
    theirs = Theirs(case, {**parts, "video_query_tokens": projector.query_tokens})
    made = projector(Tokens.full(features.flatten(1, 2)))
    case.compare({"atts": made.mask})
    case.compare_gradients({"proj": made.values}, {"vit_feats": features}, theirs)
    case.compare({"proj": made.values})
    real = (torch.arange(frames) < torch.tensor([[frames - 1]] * items)).repeat_interleave(tokens, dim=1)
    short = projector(Tokens(features.flatten(1, 2) + 7 * ~real[..., None], real))
    queries = projector.query_tokens.shape[1]
    assert torch.equal(short.mask.sum(1), torch.full((items,), (frames - 1) * queries))
    torch.testing.assert_close(short.values[short.mask], made.values[:, : (frames - 1) * queries].flatten(0, 1))


@pytest.mark.parametrize("found", cases("05_xllm", "speech_adapter*"))
def test_speech_adapter(found: Case | None) -> None:
    """Both adapters. What the reference lays into the LLM holds its padding as if it were real; ours leaves it out."""
    case = required(found)
    dim, shapes = case.shapes["pre_bert_proj.weight"][1], case.shapes
    dim_out, hidden = shapes["post_bert_proj.weight"]
    bert = CFormerInputProjector(
        dim,
        dim_out,
        hidden=hidden,
        layers=case.sizes["L"],
        heads=case.sizes["heads"],
        mlp_ratio=shapes["speech_bert_adaptor.encoder.layer.0.intermediate.dense.weight"][0] // hidden,
        positions=shapes["speech_bert_adaptor.embeddings.position_embeddings.weight"][0],
    ).eval()
    fc = CFormerInputProjector(dim, dim_out, adapter="fc").eval()
    table = nn.Embedding(*shapes["word_embeddings.weight"])
    assert bert.pre is not None
    assert bert.bert is not None
    parts = {"pre_bert_proj": bert.pre, "speech_bert_adaptor": bert.bert, "post_bert_proj": bert.post}
    theirs = Theirs(case, {**parts, "speech_feat_proj": fc.post, "word_embeddings": table})
    speech = case.tensors["in.speech"].requires_grad_()
    mask = speech.detach().sum(-1) != 0
    outputs = {}
    for name, projector in (("bert", bert), ("fc", fc)):
        outputs[f"{name}.proj"] = tokens = projector.adapt(speech, mask)
        outputs[f"{name}.wrapped"] = laid = wrapped(case, tokens, table.weight)
        case.compare({f"{name}.atts": mask, f"{name}.wrapped_atts": mask[:, :1].expand(-1, laid.shape[1])})
        lengths = wrapped(case, tokens, table.weight, mask)
        assert torch.equal(lengths, mask.sum(1) + laid.shape[1] - mask.shape[1])
    case.compare(outputs)
    case.compare_gradients(outputs, {"speech": speech}, theirs)
