"""Forecasts follow from shapes: memory from counts, operations from the products that a step makes."""

import dataclasses

import pytest
import tiny
import torch
from components import TINY
from torch import nn
from torch.nn import functional

from anyx.build import build
from anyx.config import Config, check
from anyx.input_projectors import LinearInputProjector
from anyx.interfaces import Tokens
from anyx.schema import Stage
from anyx.training import forecast
from anyx.training.forecast import Memory, Shape, memory
from anyx.training.kept import kept
from anyx.training.stage import select, thaw

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
        ("encoders.*", ("text",), 2, 0),  # of an encoder that learns its weights alone are counted
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
    assert (once.heard, once.read) == (4, 4)
    model.inputs["image"].projector = LinearInputProjector(6, 32, tokens=3).to("meta")
    once = forecast.encode_once(model, "image", {"numbers": torch.zeros(4)})
    assert (once.operations, once.heard, once.read) == (2 * 4 * 1 * 6, 4, 12)


def test_projectors_read_as_many_tokens_as_their_encoders_give() -> None:
    """Every token costs a product there and one back: two inputs of one token, then of four and two."""
    with torch.device("meta"):
        model = tiny.anyx()
    learning = stage("inputs.*.projector", "text")
    one = forecast.step(model, learning, LENGTH)
    assert forecast.step(model, learning, LENGTH, {"image": 4, "audio": 2}) - one == 2 * 2 * ROWS * 6 * 32 * (3 + 1)
    assert forecast.kept_beside(model, learning, {"image": 4, "audio": 2}) == ROWS * 6 * 4 * (4 + 2)  # what they read


def test_what_is_kept_is_what_the_way_back_reads() -> None:
    """A frozen map keeps nothing of its input, GELU its own; views of one storage count once, weights never."""
    held, weights = torch.ones(2, 3, requires_grad=True), nn.Linear(3, 5)
    read = nn.Parameter(torch.ones(5))

    def run(layer: nn.Module) -> torch.Tensor:
        y = functional.gelu(layer(held))
        return y[:, :2] * read[:2] + y[:, 3:] * read[3:]  # two views of what GELU gave

    kept_frozen = kept(lambda: run(weights.requires_grad_(False)), [held, read, *weights.parameters()])
    assert kept_frozen == 4 * 2 * 5 * 2  # GELU's input and output
    assert kept(lambda: run(weights.requires_grad_(True)), [read, *weights.parameters()]) == kept_frozen + 4 * 2 * 3
    with torch.no_grad():
        assert kept(lambda: run(weights), []) == 0


def small(llm: str) -> Config:
    """A model with two denoisers."""
    decoder = {"type": "stable_diffusion"} | TINY["decoders"]["stable_diffusion"][0]
    port = {"tokens": 2, "projector": {"type": "linear"}, "decoder": decoder}
    return check({"llm": {"path": llm}, "outputs": {"image": port, "sketch": port | {"media": "image"}}})


def test_denoisers_keep_what_they_keep_on_a_processor(tiny_llm_folder: str) -> None:
    """On `meta` as counted here by itself, of one denoiser that really runs and its projector, for three rows."""
    model = build(small(tiny_llm_folder))
    thaw(model, select(model.parts(), {"outputs.*.projector": 1e-4}))
    port = model.outputs["image"]
    decoder, own = port.decoder, {x.data_ptr() for x in (*model.parameters(), *model.buffers())}
    found: dict[int, torch.UntypedStorage] = {}

    def note(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage().data_ptr() not in own:
            found[x.untyped_storage().data_ptr()] = x.untyped_storage()
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        condition = decoder.read(port.projector(Tokens.full(torch.randn(ROWS, 2, model.llm.dim))))
        said = decoder.predict(torch.randn(ROWS, *decoder.latent_shape), torch.zeros(ROWS, dtype=torch.long), condition)
    assert said.requires_grad
    real = sum(storage.nbytes() for storage in found.values())

    model = build(small(tiny_llm_folder), meta=True)
    learning = stage("outputs.*.projector", "text", "denoise")
    beside = forecast.kept_beside(model, learning)
    projectors = forecast.kept_beside(model, stage("outputs.*.projector", "text"))
    states = ROWS * 5 * model.llm.dim * 4  # laid out to the condition's length
    assert 2 * states == projectors < beside / 10
    assert beside == 2 * real
    one = dataclasses.replace(learning, losses={"denoise": {"weight": 1, "keys": ["image"]}})
    assert forecast.kept_beside(model, one) == real + states
    both = forecast.step(model, dataclasses.replace(one, losses={"denoise": 1}), LENGTH)
    none = forecast.step(model, dataclasses.replace(one, losses={"caption": 1}), LENGTH)
    assert forecast.step(model, one, LENGTH) - none == (both - none) / 2 > 0
    parts = {"outputs.a.projector": [nn.Parameter(torch.empty(1))]}
    assert memory(parts, stage("outputs.*.projector", "denoise"), None, LENGTH, beside=beside).activations == beside
