"""Forecasts follow from shapes: memory from counts, operations from the products that a step makes."""

import dataclasses

import pytest
import tiny
import torch
from components import TINY
from torch import nn

from anyx.build import build
from anyx.config import Config, check
from anyx.input_projectors import LinearInputProjector
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training import forecast
from anyx.training.forecast import Step
from anyx.training.rehearsal import Memory, Rehearsal
from anyx.training.stage import make_optimizer, select, thaw

LENGTH, ROWS = 10, 3


def stage(train: str, *losses: str) -> Stage:
    return Stage("s", train={train: 1e-4}, losses=dict.fromkeys(losses, 1), data={"some": 1}, batch_size=ROWS)


def meta() -> AnyX:
    with torch.device("meta"):
        return tiny.anyx()


def test_memory_at_rest_follows_from_the_counts() -> None:
    """Weights 4 + 2 bytes a number; a gradient and two moments for the 100 float32 numbers that learn."""
    body = nn.Parameter(torch.empty(1000, dtype=torch.bfloat16, device="meta"))
    lora = nn.Parameter(torch.empty(100, device="meta"))
    parts = {"llm.lora": [lora], "llm.body": [body]}
    learning = stage("llm.lora", "text")
    assert forecast.at_rest(parts, learning) == Memory(2 * 1000 + 4 * 100, 400, 800, 0)
    assert forecast.at_rest(parts, dataclasses.replace(learning, ema=0.99)).optimizer == 1200
    assert forecast.disk(parts, learning) == 1200


def test_a_shared_part_weighs_once() -> None:
    shared = [nn.Parameter(torch.empty(10, device="meta"))]
    parts = {"outputs.a.projector": shared, "outputs.b.projector": shared}
    assert forecast.at_rest(parts, stage("outputs.*.projector", "text")) == Memory(40, 40, 80, 0)


@pytest.mark.parametrize(
    ("train", "losses", "precision"),
    [
        ("inputs.*.projector", ("text",), "fp32"),
        ("llm.body", ("text",), "fp32"),
        ("llm.body", ("text",), "bf16"),
        ("llm.signal_tokens", ("text",), "bf16"),
    ],
)
def test_memory_and_calls_are_those_of_a_real_step(train: str, losses: tuple[str, ...], precision: str) -> None:
    """The same step with numbers: what its tensors take at most, and every product that it makes."""
    learning = dataclasses.replace(stage(train, *losses), precision=precision)
    said = forecast.rehearse(meta(), learning, LENGTH)
    model = tiny.anyx()
    selection = select(model.parts(), learning.train)
    thaw(model, selection)
    optimizer = make_optimizer(learning, selection)
    with Rehearsal() as seen:
        seen.know((*model.parameters(), *model.buffers()))
        for _ in range(2):
            seen.again()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
                loss = forecast.total(model, learning, selection, LENGTH, {}, None)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(selection.parameters(), 1.0)
            optimizer.step()
            del loss
    done = Step(Memory(0, 0, 0, 0), dict(seen.works), seen.calls)
    assert done.operations == said.operations > 0
    real = seen.peak + forecast.size([p for p in model.parameters() if p.grad is not None])  # moments are made there
    gone = said.memory.gradients + said.memory.optimizer + said.memory.activations
    assert abs(seen.peak - gone) < 0.02 * real
    assert said.memory.weights == forecast.size([*model.parameters(), *model.buffers()])


def test_the_model_is_as_it_was_after_a_rehearsal() -> None:
    model = meta()
    before = {name: id(x) for name, x in model.named_parameters()}
    forecast.rehearse(model, stage("inputs.*.projector", "text"), LENGTH)
    assert {name: id(x) for name, x in model.named_parameters()} == before
    assert all(x.is_meta for x in model.parameters())


def test_checkpointed_layers_keep_less_and_compute_more() -> None:
    plain = stage("inputs.*.projector", "text")
    whole = forecast.rehearse(meta(), plain, 64)
    again = forecast.rehearse(meta(), dataclasses.replace(plain, gradient_checkpointing=True), 64)
    assert again.memory.activations < 0.8 * whole.memory.activations
    assert again.operations > 1.2 * whole.operations


def test_autocast_keeps_a_copy_of_frozen_weights() -> None:
    """Of a float32 body under bf16, every matrix that the way back reads."""
    learning = stage("inputs.*.projector", "text")
    with torch.device("meta"):
        model = tiny.anyx()
    short, long = (forecast.rehearse(model, learning, length).memory.activations for length in (2, 4))
    maps = sum(p.numel() for n, p in model.llm.model.named_parameters() if n.endswith("proj.weight"))
    assert 2 * short - long > maps  # bytes of what does not grow with the rows: a half of the copies at least


def products(tokens: int) -> int:
    """Operations forward through tiny's Llama by hand: queries, keys, values, output, MLP, attention."""
    d, f, kv, layers = 32, 64, 16, 2
    maps = 2 * tokens * layers * (2 * d * d + 2 * d * kv + 3 * d * f)
    return maps + 2 * 2 * ROWS * layers * LENGTH * LENGTH * d


HEAD = 2 * (ROWS * LENGTH // 2) * 32 * (330 + 5)  # five signal tokens
READ = 2 * ROWS * 6 * 32 * 2  # both inputs' projectors, one token a medium


@pytest.mark.parametrize(
    ("train", "losses", "expected"),
    [
        (
            "outputs.*.projector",
            ("text", "caption"),
            products(ROWS * LENGTH) + HEAD + READ + 2 * 2 * ROWS * 32 * 15 * 2,
        ),
        ("outputs.*.projector", ("caption",), 2 * 2 * ROWS * 32 * 15 * 2),  # forward and their own gradient
        ("inputs.*.projector", ("text",), 2 * (products(ROWS * LENGTH) + HEAD + READ)),
        ("encoders.*", ("text",), 2 * (products(ROWS * LENGTH) + HEAD + READ)),  # through projectors, to what they read
    ],
)
def test_operations_are_those_of_the_products(train: str, losses: tuple[str, ...], expected: int) -> None:
    """Frozen matrices cost as much on the way back as on the way there; attention five products for two."""
    counted = forecast.rehearse(meta(), stage(train, *losses), LENGTH).operations
    back = 3 * 2 * ROWS * 2 * LENGTH * LENGTH * 32 if "text" in losses and not train.startswith("outputs") else 0
    assert counted == expected + back


def test_an_encoder_is_asked_once_a_medium() -> None:
    with torch.device("meta"):
        model = tiny.anyx()
    once = forecast.encode_once(model, "image", {"numbers": torch.zeros(4)})
    assert once.operations == 2 * 4 * 1 * 6
    assert once.kept == 4 * 6 * 4 + 4
    assert (once.heard, once.read) == (4, 4)
    model.inputs["image"].projector = LinearInputProjector(6, 32, tokens=3).to("meta")
    once = forecast.encode_once(model, "image", {"numbers": torch.zeros(4)})
    assert (once.operations, once.heard, once.read) == (2 * 4 * 1 * 6, 4, 12)


def test_projectors_read_as_many_tokens_as_their_encoders_give() -> None:
    """Every token costs a product there and one back: two inputs of one token, then of four and two."""
    model, learning = meta(), stage("inputs.*.projector", "text")
    one = forecast.rehearse(model, learning, LENGTH).operations
    more = forecast.rehearse(model, learning, LENGTH, {"image": 4, "audio": 2}).operations
    assert more - one == 2 * 2 * ROWS * 6 * 32 * (3 + 1)


def test_signal_tokens_learn_from_the_end_of_rows_alone() -> None:
    """What stands before a group runs once, there and not back."""
    model = meta()
    learning = stage("llm.signal_tokens", "text")
    short, long = (forecast.rehearse(model, learning, length, supervised=1).operations for length in (32, 64))
    both = [forecast.rehearse(model, stage("inputs.*.projector", "text"), n, supervised=1).operations for n in (32, 64)]
    assert long - short < 0.6 * (both[1] - both[0])


def small(llm: str) -> Config:
    """A model with two denoisers."""
    decoder = {"type": "stable_diffusion"} | TINY["decoders"]["stable_diffusion"][0]
    port = {"tokens": 2, "projector": {"type": "linear"}, "decoder": decoder}
    return check({"llm": {"path": llm}, "outputs": {"image": port, "sketch": port | {"media": "image"}}})


def test_denoisers_are_rehearsed_where_a_loss_asks_them(tiny_llm_folder: str) -> None:
    model = build(small(tiny_llm_folder), meta=True)
    learning = stage("outputs.*.projector", "denoise")
    none = forecast.rehearse(model, dataclasses.replace(learning, losses={"caption": 1}), LENGTH)
    one = forecast.rehearse(
        model, dataclasses.replace(learning, losses={"denoise": {"weight": 1, "keys": ["image"]}}), LENGTH
    )
    both = forecast.rehearse(model, learning, LENGTH)
    assert one.operations - none.operations == (both.operations - none.operations) / 2 > 0
    assert both.memory.activations > 1.8 * one.memory.activations > 10 * none.memory.activations
