"""NExT-GPT's output projectors, both versions, and GILL's linear: values, input gradients, norms of every gradient."""

from __future__ import annotations

import pytest
import torch
from golden import Case, absent, cases, required
from torch import Tensor, nn

from anyx.interfaces import OutputProjector, Tokens
from anyx.output_projectors import LinearOutputProjector, QFormerOutputProjector, TransformerOutputProjector

SECOND = {"fc": "in_fc", "model": "out_fc"}  # what version 2 calls the maps at both ends


class Theirs(nn.Module):
    """A projection under the reference's names, so that its weights load strictly and its gradients are found."""

    def __init__(self, case: Case, projector: OutputProjector) -> None:
        super().__init__()
        ours, second = projector.conditions["c"], "in_fc.weight" in case.shapes
        for name, module in ours.named_children():
            self.register_module(SECOND.get(name, name) if second else name, module)
        for name, parameter in ours.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.load_state_dict(parameters(case.weights()))


def parameters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the one entry that is counted, not learned: 0, 1, 2, ..."""
    return {key: tensor for key, tensor in state.items() if not key.endswith("position_ids")}


def run(case: Case, projector: OutputProjector, theirs: nn.Module) -> None:
    inputs = {name: x.requires_grad_() for name, x in case.part("in").items()}
    condition = projector.eval()(Tokens.full(inputs["x"]), inputs["input_embs"])
    outputs = {"y": condition.values["c"]}
    case.compare(outputs)
    case.compare_gradients(outputs, inputs, theirs)


def ends(case: Case) -> tuple[int, int, int]:
    """Widths: of the LLM, of the projector, of the condition."""
    first, last = ("in_fc", "out_fc") if "in_fc.weight" in case.shapes else ("fc", "model")
    return case.shapes[f"{first}.weight"][1], case.shapes[f"{first}.weight"][0], case.shapes[f"{last}.weight"][0]


def count(case: Case, prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in case.shapes if key.startswith(prefix)})


TRANSFORMERS = [*cases("02_nextgpt_v1", "textfc_transformer_*"), *cases("03_nextgpt_v2", "transformers_projector_*")]
QFORMERS = [*cases("02_nextgpt_v1", "textfc_qformer_*"), *cases("03_nextgpt_v2", "qformer_projector*")]


@pytest.mark.parametrize("found", TRANSFORMERS)
def test_transformer(found: Case | None) -> None:
    case = required(found)
    dim_in, hidden, dim = ends(case)
    projector = TransformerOutputProjector(
        dim_in,
        {"c": (case.shapes["query_embs"][1], dim)},
        hidden=hidden,
        layers=count(case, "tfm.encoder.layers."),
        decoder_layers=count(case, "tfm.decoder.layers."),
        heads=case.sizes.get("heads", 4),  # the source says 4 for every width
        mlp_ratio=case.shapes["tfm.encoder.layers.0.linear1.weight"][0] // hidden,
    )
    run(case, projector, Theirs(case, projector))


@pytest.mark.parametrize("found", QFORMERS)
def test_qformer(found: Case | None) -> None:
    case = required(found)
    dim_in, hidden, dim = ends(case)
    layer = "Qformer.bert.encoder.layer."
    projector = QFormerOutputProjector(
        dim_in,
        {"c": (case.shapes["query_tokens"][1], dim)},
        hidden=None if "in_fc.weight" in case.shapes else hidden,
        layers=count(case, layer),
        heads=case.sizes["bert"]["num_attention_heads"],
        cross_every=case.sizes["cross_attention_freq"],
        mlp_ratio=case.shapes[f"{layer}0.intermediate_query.dense.weight"][0] // hidden,
    )
    run(case, projector, Theirs(case, projector))


@pytest.mark.parametrize("found", cases("02_nextgpt_v1", "textfc_linear_*"))
def test_linear(found: Case | None) -> None:
    if found is None:
        return absent("textfc_linear")
    dim_out, dim_in = found.shapes["model.weight"]
    length = found.sizes["num_output_tokens"]
    projector = LinearOutputProjector(dim_in, {"c": (length, dim_out)})
    projector.conditions["c"].load_state_dict(found.weights() | {"positions": torch.zeros(length, dim_out)})
    run(found, projector, projector.conditions["c"])
