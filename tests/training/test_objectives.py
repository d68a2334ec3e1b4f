"""Losses that cannot be of a model say so, also where no YAML was checked."""

import pytest
import tiny
import torch
from torch import nn

from anyx.data.batches import Dialogues, Pairs
from anyx.training.backbones import Backbones
from anyx.training.conditions import Step
from anyx.training.objectives import OBJECTIVES, WANTS_LLM, refusal, terms


def test_a_loss_of_other_models_is_refused() -> None:
    scale = nn.Parameter(torch.zeros(()))
    model = tiny.anyx()
    batch = model.processor.collate([model.processor([{"role": "user", "content": "hi"}])])
    dialogues = Step(model, Dialogues(batch, {}, {}, {}), None, scale, {})
    pairs = Step(Backbones({}, {}, kinds={}), Pairs({}, {}, {}, [], {}, {}), None, scale, {})
    for step, name, options in (
        (dialogues, "contrastive", {"pairs": []}),
        (dialogues, "reconstruct", 1),
        (pairs, "text", 1),
        (pairs, "caption", 1),
        (pairs, "align", 1),
    ):
        (term,) = terms({name: options})
        with pytest.raises(
            ValueError, match=rf"^losses\.{name}: '{name}' is no loss of a model with(out)? an LLM; those"
        ):
            term(step)


def test_every_loss_is_of_some_model() -> None:
    assert WANTS_LLM.keys() <= OBJECTIVES.keys()
    assert all("" in (refusal(name, True), refusal(name, False)) for name in OBJECTIVES)
