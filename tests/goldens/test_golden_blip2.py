"""BLIP-2's and InstructBLIP's Q-Former, in LAVIS's keys and in transformers': values and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from golden import Case, cases, required
from qformer_names import published_name
from torch import Tensor, nn

from anyx.interfaces import TextBatch, Tokens
from anyx.qformer import QFormer
from anyx.queries import QFormerInputProjector


def count(case: Case) -> int:
    """How many layers the weights are of."""
    return len({key.split("layer.")[1].split(".")[0] for key in case.shapes if "layer." in key})


def sizes(case: Case) -> dict[str, Any]:
    """The Q-Former's sizes, all from shapes but for the heads; a layer has cross-attention or its frequency says so."""
    words = [shape for key, shape in case.shapes.items() if key.endswith("word_embeddings.weight")]
    places = [shape for key, shape in case.shapes.items() if key.endswith("position_embeddings.weight")]
    crossed = sorted(
        {
            int(key.split("layer.")[1].split(".")[0])
            for key in case.shapes
            if key.endswith("crossattention.output.dense.bias")
        }
    )
    hidden = next(shape[0] for key, shape in case.shapes.items() if key.endswith("intermediate_query.dense.weight"))
    return {
        "layers": count(case),
        "heads": case.sizes["heads"],
        "cross_every": crossed[1] if len(crossed) > 1 else count(case),
        "hidden": hidden,
        "vocabulary": words[0][0] if words else None,
        "positions": places[0][0] if places else 512,
    }


@pytest.mark.parametrize("found", cases("06_blip2", "qformer_hf*"))
def test_keys_of_transformers(found: Case | None) -> None:
    case = required(found)
    width, context = case.shapes["encoder.layer.0.crossattention.attention.key.weight"]
    qformer = QFormer(width, context, **sizes(case)).eval()
    names = {key: published_name(key) for key in case.shapes}
    qformer.load_state_dict({names[key]: tensor for key, tensor in case.weights().items()})
    given = case.part("in")
    query, enc = given["query"].requires_grad_(), given["enc"].requires_grad_()
    if "ids" in given:
        length = given["ids"].shape[1]
        real = given["mask"][:, -length:].bool()
        outputs = {"hidden": qformer.states(query, enc, words=given["ids"], real=real)}
    else:
        outputs = {"hidden": qformer(query, enc), "hidden_masked": qformer(query, enc, given["enc_mask"].bool())}
    case.compare(outputs)
    case.compare_gradients(outputs, {"query": query, "enc": enc}, Renamed(qformer, names))


class Renamed:
    """A module whose parameters go by the reference's names."""

    def __init__(self, module: nn.Module, names: dict[str, str]) -> None:
        self.module, self.names = module, names

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        found = dict(self.module.named_parameters())
        return [(theirs, found[ours]) for theirs, ours in self.names.items() if ours in found]


@pytest.mark.parametrize("found", cases("06_blip2", "qformer_lavis*"))
def test_keys_of_lavis(found: Case | None) -> None:
    """The LayerNorm of the encoder's tokens, the queries and the projection are there, as the projector has them."""
    case = required(found)
    (proj,) = {key.rpartition(".")[0] for key in case.shapes if key.endswith("_proj.weight")}
    (dim_in,), (dim_out, width) = case.shapes["ln_vision.weight"], case.shapes[f"{proj}.weight"]
    settings = sizes(case)
    projector = QFormerInputProjector(
        dim_in,
        dim_out,
        queries=case.shapes["query_tokens"][1],
        width=width,
        norm=True,
        reads=settings["vocabulary"] is not None,
        **settings,
    ).eval()
    names = {
        key: key.replace("ln_vision", "norm").replace("Qformer.", "qformer.").replace(proj, "proj")
        for key in case.shapes
    }
    weights = {names[key]: tensor for key, tensor in case.weights().items() if not key.endswith("position_ids")}
    projector.load_state_dict(weights)
    given = case.part("in")
    features = given["vit_feats"].requires_grad_()
    text = TextBatch(given["text_ids"], given["text_mask"].bool()) if "text_ids" in given else None
    outputs: dict[str, Tensor] = {"proj": projector(Tokens.full(features), text).values}
    seen = projector.norm(features)
    words = {} if text is None else {"words": text.ids, "real": text.mask}
    outputs["hidden"] = projector.qformer.states(projector.query_tokens.expand(len(seen), -1, -1), seen, **words)
    assert torch.equal(projector(Tokens.full(features), text).mask, torch.ones(outputs["proj"].shape[:2]).bool())
    case.compare(outputs)
    case.compare_gradients(outputs, {"vit_feats": features}, Renamed(projector, names))
