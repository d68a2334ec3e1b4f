"""NExT-GPT's TextFc transformer and GILL's linear: values, input gradients, gradient norms of every parameter."""

from __future__ import annotations

import pytest
import torch
from golden import Case, absent, cases, required

from anyx.interfaces import OutputProjector, Tokens
from anyx.output_projectors import LinearOutputProjector, TransformerOutputProjector


def run(case: Case, projector: OutputProjector) -> None:
    inputs = {name: x.requires_grad_() for name, x in case.part("in").items()}
    condition = projector.eval()(Tokens.full(inputs["x"]), inputs["input_embs"])
    outputs = {"y": condition.values["c"]}
    case.compare(outputs)
    case.compare_gradients(outputs, inputs, projector.conditions["c"])


def count(case: Case, stack: str) -> int:
    return len({key.split(".")[3] for key in case.shapes if key.startswith(f"tfm.{stack}.layers.")})


@pytest.mark.parametrize("found", cases("02_nextgpt_v1", "textfc_transformer_*"))
def test_transformer(found: Case | None) -> None:
    case = required(found)
    hidden, dim_in = case.shapes["fc.weight"]
    projector = TransformerOutputProjector(
        dim_in,
        {"c": (case.shapes["query_embs"][1], case.shapes["model.weight"][0])},
        hidden=hidden,
        layers=count(case, "encoder"),
        decoder_layers=count(case, "decoder"),
        heads=case.sizes.get("heads", 4),  # the unpatched source says 4 for every width
        mlp_ratio=case.shapes["tfm.encoder.layers.0.linear1.weight"][0] // hidden,
    )
    projector.conditions["c"].load_state_dict(case.weights())
    run(case, projector)


@pytest.mark.parametrize("found", cases("02_nextgpt_v1", "textfc_linear_*"))
def test_linear(found: Case | None) -> None:
    if found is None:
        return absent("textfc_linear")
    dim_out, dim_in = found.shapes["model.weight"]
    projector = LinearOutputProjector(dim_in, {"c": (found.sizes["num_output_tokens"], dim_out)})
    state = found.weights() | {"positions": torch.zeros(found.sizes["num_output_tokens"], dim_out)}
    projector.conditions["c"].load_state_dict(state)
    run(found, projector)
