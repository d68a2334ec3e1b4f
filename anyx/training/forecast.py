"""What a stage will cost, from shapes alone: memory, disk, and the floating-point operations of a step.

Operations are counted, not estimated: the parts run on the `meta` device under torch's `FlopCounterMode`, which knows
every matrix product, convolution and attention (a multiply-add is two). A step runs the LLM over a batch of `length`
tokens a row and, where something below it learns, back; its frozen matrices cost one product on the way back, those
that learn two. Frozen encoders and text encoders run once a medium or caption, as their results are kept.

Memory of a stage is an estimate: weights as stored, gradients and AdamW's two moments for what learns, and what the LLM
keeps for its backward pass; what denoisers keep for theirs, where a stage has that loss, is not in it. A stage that
only aligns does not run the LLM, and output projectors learn from states that it gave once.

Letters: b rows, s tokens of a row, d width, f feed-forward width, v vocabulary.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.flop_counter import FlopCounterMode

from anyx.interfaces import Condition, Tokens
from anyx.llm import LLM
from anyx.model import AnyX
from anyx.schema import Stage
from anyx.training.objectives import OF_THE_LLM, states_are_given
from anyx.training.stage import Selection, select, thaw

Parts = Mapping[str, Sequence[Parameter]]


class Memory(NamedTuple):
    """Bytes of one stage while it trains."""

    weights: int
    gradients: int
    optimizer: int
    activations: int


class Shape(NamedTuple):
    """What an LLM keeps for its backward pass is counted from these."""

    layers: int
    width: int
    inner: int
    vocabulary: int

    def activations(self, tokens: int, item: int) -> int:
        """Bytes kept for so many tokens: about 8 d + 3 f a layer, and the logits twice in float32."""
        return tokens * (self.layers * (8 * self.width + 3 * self.inner) * item + 2 * 4 * self.vocabulary)


@runtime_checkable
class Denoiser(Protocol):
    """A decoder that says what noise a latent of its shape holds."""

    latent_shape: tuple[int, ...]

    def read(self, condition: Condition) -> Condition:
        """The condition in the denoiser's dtype."""
        ...

    def predict(self, noisy: Tensor, steps: Tensor, condition: Condition) -> Tensor:
        """What the denoiser says of noisy latents at timesteps (b,)."""
        ...


class Once(NamedTuple):
    """What a frozen part does once for a medium or caption: operations, and bytes of the result that is kept."""

    operations: int
    kept: int


def size(parameters: Sequence[Parameter]) -> int:
    """Bytes of parameters as they are stored."""
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)


def unique(parts: Parts, names: Sequence[str]) -> list[Parameter]:
    """The parameters of some parts, each once."""
    return list({id(parameter): parameter for name in names for parameter in parts[name]}.values())


def shape_of(llm: LLM) -> Shape:
    """The sizes of the LLM's body."""
    body = llm.model.config.get_text_config(decoder=True)
    sizes = body.to_dict()
    hidden = sizes.get(
        "intermediate_size", sizes.get("ffn_dim", 4 * body.hidden_size)
    )  # OPT's name for it; GPT's ratio
    return Shape(body.num_hidden_layers, body.hidden_size, hidden, llm.vocabulary)


def runs_llm(stage: Stage, selection: Selection) -> bool:
    """Whether a step of the stage passes through the LLM."""
    return bool(OF_THE_LLM.intersection(stage.losses)) and not states_are_given(stage.losses, selection.names)


def memory(parts: Parts, stage: Stage, shape: Shape | None, length: int) -> Memory:
    """The memory of a stage: AdamW's moments have the parameters' own type, activations that of the LLM's body."""
    selection = select(parts, stage.train)
    learning = size(selection.parameters())
    activations = 0
    if shape is not None and runs_llm(stage, selection):
        item = max((parameter.element_size() for parameter in parts.get("llm.body", ())), default=4)
        activations = shape.activations(stage.batch_size * length, item)
    return Memory(size(unique(parts, list(parts))), learning, 2 * learning, activations)


def disk(parts: Parts, stage: Stage) -> int:
    """Bytes of a stage's newest checkpoint: what learns and AdamW's two moments of it."""
    return 3 * size(select(parts, stage.train).parameters())


def step(model: AnyX, stage: Stage, length: int) -> int:
    """Operations of one step of a model on `meta`: LLM, head over half of the positions, one medium a row and port."""
    selection = select(model.parts(), stage.train)
    thaw(model, selection)
    with FlopCounterMode(display=False) as counter:
        ends = projections(model, stage.batch_size)
        if "denoise" in stage.losses:
            ends += denoisings(model, stage.batch_size)
        if runs_llm(stage, selection):
            ends += pass_through(model.llm, stage.batch_size, length, below_learns(selection))
        learning = [end.float().sum() for end in ends if end.requires_grad]
        if learning:
            torch.autograd.backward([torch.stack(learning).sum()])
    model.zero_grad(set_to_none=True)
    total: int = counter.get_total_flops()
    return total


def below_learns(selection: Selection) -> bool:
    """Whether gradients have to come out at the LLM's input."""
    return any(name.startswith("inputs.") or name == "llm.signal_tokens" for name in selection.names)


def pass_through(llm: LLM, rows: int, length: int, to_inputs: bool) -> list[Tensor]:
    """Last states of a batch and the logits of half of its positions, on `meta`.

    The mask is four-dimensional because transformers asks two-dimensional ones for their values; from such a mask OPT
    cannot tell positions, so they are given where the body takes them.
    """
    dtype = llm.model.dtype
    x = torch.zeros(rows, length, llm.dim, device="meta", dtype=dtype, requires_grad=to_inputs)
    mask = torch.zeros(rows, 1, length, length, device="meta", dtype=dtype)
    body = llm.model.get_decoder()
    given = {"inputs_embeds": x, "attention_mask": mask, "use_cache": False}
    if "position_ids" in inspect.signature(body.forward).parameters:
        given["position_ids"] = torch.arange(length, device="meta").expand(rows, -1)
    states = body(**given).last_hidden_state
    return [llm.logits(states[:, : max(1, length // 2)])]


def projections(model: AnyX, rows: int) -> list[Tensor]:
    """What every projector that learns makes of one medium a row, on `meta`; of inputs, of one encoder token."""
    ends: list[Tensor] = []
    for port in model.inputs.values():
        if learns(port.projector):
            encoder = model.encoders[port.encoder]
            ends.append(port.projector(Tokens.full(torch.zeros(rows, 1, encoder.dim, device="meta"))).values)
    for output in model.outputs.values():
        if learns(output.projector):
            states = torch.zeros(rows, output.tokens, model.llm.dim, device="meta")
            ends += output.projector(Tokens.full(states), states).values.values()
    return ends


def denoisings(model: AnyX, rows: int) -> list[Tensor]:
    """What every output's denoiser says of one noisy medium a row under its projector's condition, on `meta`."""
    ends: list[Tensor] = []
    for output in model.outputs.values():
        decoder = output.decoder
        if isinstance(decoder, Denoiser):
            states = torch.zeros(rows, output.tokens, model.llm.dim, device="meta")
            condition = decoder.read(output.projector(Tokens.full(states), states))
            dtype = next(iter(condition.values.values())).dtype
            noisy = torch.zeros(rows, *decoder.latent_shape, device="meta", dtype=dtype)
            ends.append(decoder.predict(noisy, torch.zeros(rows, device="meta", dtype=torch.long), condition))
    return ends


def learns(module: nn.Module) -> bool:
    """Whether anything in a module does."""
    return any(parameter.requires_grad for parameter in module.parameters())


@torch.no_grad()
def encode_once(model: AnyX, key: str, tensors: Mapping[str, Tensor]) -> Once:
    """What one transformed medium of a key costs its encoder, on `meta`, and what is kept of it (tokens and mask).

    Whole numbers, such as grids, are facts that encoders ask the values of: they stay where they are.
    """
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        tokens = model.encode(
            key, {name: x[None].to("meta") if x.is_floating_point() else x[None] for name, x in tensors.items()}
        )
    kept = tokens.values.numel() * tokens.values.element_size() + tokens.mask.numel()
    return Once(counter.get_total_flops(), kept)
