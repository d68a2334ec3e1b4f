"""What a stage thaws, the modes it sets, its optimiser groups and schedule."""

from typing import Any

import pytest
import tiny
import torch
from torch import nn

from anyx.schema import Stage
from anyx.training.stage import autocast_dtype, make_optimizer, make_schedule, select, set_modes, thaw
from anyx.training.trainee import Trainee

LORA = {"r": 2, "alpha": 4, "dropout": 0.5, "targets": ["q_proj"]}


def stage(**given: Any) -> Stage:
    return Stage(**{"name": "s", "train": {"a": 1e-3}, "losses": {"text": 1}, "data": {"d": 1}, "steps": 100, **given})


def test_thaws_exactly_what_globs_name() -> None:
    model = tiny.anyx(lora=LORA)
    selection = select(model.parts(), {"inputs.*.projector": 1e-3, "llm.signal_tokens": 1e-4})
    thaw(model, selection)
    assert selection.names == ["inputs.image.projector", "inputs.audio.projector", "llm.signal_tokens"]
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    expected = {f"inputs.{key}.projector.map.{name}" for key in ("image", "audio") for name in ("weight", "bias")}
    assert learning == expected | {"llm.signal_tokens.embedding"}
    assert len(selection.group("inputs.*.projector")) == 4


def test_a_glob_that_names_nothing_lists_the_parts() -> None:
    with pytest.raises(
        ValueError,
        match=r"'imputs.\*' matches no part; the parts are llm.signal_tokens, llm.body, llm.body.tables, enc",
    ):
        select(tiny.anyx().parts(), {"imputs.*": 1e-3})


def test_the_later_glob_owns_a_part() -> None:
    selection = select(tiny.anyx().parts(), {"inputs.*.projector": 1e-3, "inputs.image.projector": 1e-5})
    assert selection.globs["inputs.*.projector"] == ["inputs.audio.projector"]
    assert selection.globs["inputs.image.projector"] == ["inputs.image.projector"]


def test_what_lies_within_a_part_follows_the_later_glob() -> None:
    body, table = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(3))
    parts = {"llm.body": [body, table], "llm.body.tables": [table]}
    selection = select(parts, {"llm.*": 1e-3, "llm.body": 1e-5})
    assert selection.globs == {"llm.body": ["llm.body", "llm.body.tables"]}
    assert len(selection.parameters()) == 2


def test_shared_parameters_have_one_glob() -> None:
    shared = nn.Parameter(torch.zeros(2))
    assert len(select({"a": [shared], "b": [shared]}, {"*": 1.0}).parameters()) == 1
    with pytest.raises(ValueError, match="'a' and 'b' share parameters"):
        select({"a": [shared], "b": [shared]}, {"a": 1.0, "b": 2.0})


def test_frozen_modules_stay_in_eval() -> None:
    model = tiny.anyx(lora=LORA)
    thaw(model, select(model.parts(), {"llm.lora": 1e-3, "outputs.image.*": 1e-3}))
    training = {name for name, module in model.named_modules() if module.training}
    assert "encoders.eye" not in training
    assert "encoders.eye.dropout" not in training
    assert {"outputs.image.projector", "outputs.image.decoder"} <= training
    assert "outputs.audio.projector" not in training
    assert any(name.endswith("lora_dropout.default") for name in training)
    assert not any(name.endswith(("mlp", "self_attn", "base_layer", "norm")) for name in training)
    thaw(model, select(model.parts(), {"encoders.eye": 1e-3}))
    assert model.encoders["eye"].dropout.training
    assert not model.outputs["image"].projector.training


def test_running_statistics_of_frozen_parts_do_not_move() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.learns = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

    model = Two()
    model.frozen.requires_grad_(False)
    set_modes(model)
    assert (model.frozen.training, model.learns.training) == (False, True)


def test_one_group_a_glob_and_the_schedule() -> None:
    model = tiny.anyx()
    given = stage(train={"inputs.*": 1e-2, "outputs.*.projector": 1e-3}, weight_decay=0.1, warmup=10)
    selection = select(model.parts(), given.train)
    extra = nn.Parameter(torch.zeros(()))
    optimizer = make_optimizer(given, selection, [extra])
    assert [group["lr"] for group in optimizer.param_groups] == [1e-2, 1e-3, 1e-2]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1, 0.0]
    schedule = make_schedule(given, optimizer, 100)
    rates = []
    for _ in range(100):
        rates.append(schedule.get_last_lr()[0] / 1e-2)
        optimizer.step()
        schedule.step()
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[55] == pytest.approx(0.5)
    assert rates[-1] < 1e-3
    constant = make_schedule(stage(schedule="constant", warmup=0.02), optimizer, 100)
    assert constant.lr_lambdas[0](0) == 0.5
    assert constant.lr_lambdas[0](99) == 1
    line = make_schedule(stage(schedule="linear", warmup=10), optimizer, 110).lr_lambdas[0]
    assert [line(0), line(9), line(10), line(60), line(110)] == pytest.approx([0.1, 1, 1, 0.5, 0])


def test_errors_name_the_key() -> None:
    """Of stages made without a YAML, whose own check names everything at once."""
    model = tiny.anyx()
    selection = select(model.parts(), {"inputs.*": 1e-2})
    with pytest.raises(ValueError, match=r"stages\.s: give steps or epochs"):
        stage(steps=None).length(8)
    with pytest.raises(ValueError, match=r"stages\.s\.schedule: 'step' is not one of cosine, linear, constant"):
        make_schedule(stage(schedule="step"), make_optimizer(stage(), selection), 100)
    with pytest.raises(ValueError, match=r"stages\.s\.precision: 'fp8' is not one of auto, bf16, fp32"):
        autocast_dtype(stage(precision="fp8"), torch.device("cpu"))
    with pytest.raises(ValueError, match=r"train: nothing is named; the parts are llm\.signal_tokens"):
        select(model.parts(), {})
    with pytest.raises(ValueError, match=r"losses: nothing is named"):
        Trainee(model, stage(train={"inputs.*": 1e-2}, losses={}), 1)


def test_epochs_count_the_records() -> None:
    assert stage(steps=None, epochs=2, batch_size=4, accumulate=2).length(33) == 9
