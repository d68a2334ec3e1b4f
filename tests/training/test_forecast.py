"""Forecasts follow from shapes: memory from counts, operations from the products that a step makes."""

import pytest
import tiny
import torch
from torch import nn

from anyx.schema import Stage
from anyx.training import forecast
from anyx.training.forecast import Memory, Shape, memory

LENGTH, ROWS = 10, 3


def stage(train: str, *losses: str) -> Stage:
    return Stage("s", train={train: 1e-4}, losses=dict.fromkeys(losses, 1), data={"some": 1}, batch_size=ROWS)


def test_memory_follows_from_the_counts() -> None:
    """Weights 4 + 2 bytes a number; a gradient and two moments for the 100 float32 numbers that learn."""
    body = nn.Parameter(torch.empty(1000, dtype=torch.bfloat16, device="meta"))
    lora = nn.Parameter(torch.empty(100, device="meta"))
    parts = {"llm.lora": [lora], "llm.body": [body]}
    assert memory(parts, stage("llm.lora", "text"), None, 10) == Memory(2 * 1000 + 4 * 100, 400, 800, 0)
    assert forecast.disk(parts, stage("llm.lora", "text")) == 1200
    shape = Shape(layers=2, width=8, inner=16, vocabulary=50)
    kept = ROWS * LENGTH * (2 * (8 * 8 + 3 * 16) * 2 + 8 * 50)
    assert memory(parts, stage("llm.lora", "text"), shape, LENGTH).activations == kept


def test_a_stage_without_a_backward_pass_through_the_llm_keeps_nothing_of_it() -> None:
    parts = {
        "inputs.a.projector": [nn.Parameter(torch.empty(1))],
        "outputs.a.projector": [nn.Parameter(torch.empty(1))],
    }
    shape = Shape(layers=2, width=8, inner=16, vocabulary=50)

    def kept(train: str, *losses: str) -> int:
        return memory(parts, stage(train, *losses), shape, LENGTH).activations

    assert kept("inputs.*.projector", "align") == 0
    assert kept("outputs.*.projector", "caption") == 0
    assert kept("inputs.*.projector", "text", "align") == kept("outputs.*.projector", "text", "caption") > 0


def test_a_shared_part_weighs_once() -> None:
    shared = [nn.Parameter(torch.empty(10, device="meta"))]
    parts = {"outputs.a.projector": shared, "outputs.b.projector": shared}
    assert memory(parts, stage("outputs.*.projector", "text"), None, 1) == Memory(40, 40, 80, 0)


def products(tokens: int) -> int:
    """Operations forward through tiny's Llama by hand: queries, keys, values, output, MLP, attention, half a head."""
    d, f, kv, layers, vocabulary = 32, 64, 16, 2, 330
    maps = 2 * tokens * layers * (2 * d * d + 2 * d * kv + 3 * d * f)
    attention = 2 * 2 * ROWS * layers * LENGTH * LENGTH * d
    head = 2 * (tokens // 2) * d * (vocabulary + 5)  # five signal tokens
    return maps + attention + head


@pytest.mark.parametrize(
    ("train", "losses", "passes", "projections"),
    [
        ("outputs.*.projector", ("text", "caption"), 1, 2 * 2 * ROWS * 32 * 15 * 2),  # forward and their own gradient
        ("outputs.*.projector", ("caption",), 0, 2 * 2 * ROWS * 32 * 15 * 2),
        ("inputs.*.projector", ("text",), 2, 2 * 2 * ROWS * 6 * 32 * 2),
    ],
)
def test_operations_are_those_of_the_products(
    train: str, losses: tuple[str, ...], passes: int, projections: int
) -> None:
    """Frozen matrices cost as much on the way back as on the way there; attention twice as much."""
    with torch.device("meta"):
        model = tiny.anyx()
    counted = forecast.step(model, stage(train, *losses), LENGTH)
    attention = 2 * 2 * ROWS * 2 * LENGTH * LENGTH * 32
    assert counted == passes * products(ROWS * LENGTH) + (attention if passes == 2 else 0) + projections


def test_an_encoder_is_asked_once_a_medium() -> None:
    with torch.device("meta"):
        model = tiny.anyx()
    once = forecast.encode_once(model, "image", {"numbers": torch.zeros(4)})
    assert once.operations == 2 * 4 * 1 * 6
    assert once.kept == 4 * 6 * 4 + 4
