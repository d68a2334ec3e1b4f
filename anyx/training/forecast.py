"""What a stage will cost, from shapes alone: memory, disk, and the floating-point operations of a step.

Operations are counted, not estimated: the parts run on the `meta` device under torch's `FlopCounterMode`, which knows
every matrix product, convolution and attention (a multiply-add is two). A step runs the LLM over a batch of `length`
tokens a row and, where something below it learns, back; its frozen matrices cost one product on the way back, those
that learn two. Frozen encoders and text encoders run once a medium or caption, as their results are kept.

Memory of a stage is an estimate: weights as stored, gradients and AdamW's two moments for what learns, and what is kept
for the backward pass: by the LLM as its sizes say, by projectors and, where a stage has that loss, denoisers as the
graph of one medium a row and key says (`kept.py`). A stage that only aligns does not run the LLM, and output projectors
learn from states that it gave once. Of encoders and autoencoders that learn themselves only the weights are counted.

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
from anyx.training.kept import kept
from anyx.training.objectives import OF_THE_LLM, states_are_given
from anyx.training.stage import Selection, select, thaw

Parts = Mapping[str, Sequence[Parameter]]
Heard = Mapping[str, int]  # input key -> tokens that its encoder gives of a medium
NOTHING: Heard = {}


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
    """What a frozen encoder does once for a medium: operations, and bytes of the result (tokens, mask) that is kept.

    `heard` are the tokens that it gives, `read` those that the projector makes of them for the LLM.
    """

    operations: int
    kept: int
    heard: int
    read: int


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


def memory(parts: Parts, stage: Stage, shape: Shape | None, length: int, *, beside: int = 0) -> Memory:
    """The memory of a stage: AdamW's moments have the parameters' own type, activations that of the LLM's body.

    `beside` are bytes that are kept for the backward pass outside the LLM: `kept_beside`.
    """
    selection = select(parts, stage.train)
    learning = size(selection.parameters())
    activations = beside
    if shape is not None and runs_llm(stage, selection):
        item = max((parameter.element_size() for parameter in parts.get("llm.body", ())), default=4)
        activations += shape.activations(stage.batch_size * length, item)
    return Memory(size(unique(parts, list(parts))), learning, 2 * learning, activations)


def disk(parts: Parts, stage: Stage) -> int:
    """Bytes of a stage's newest checkpoint: what learns and AdamW's two moments of it."""
    return 3 * size(select(parts, stage.train).parameters())


def step(model: AnyX, stage: Stage, length: int, tokens: Heard = NOTHING) -> int:
    """Operations of one step of a model on `meta`: LLM, head over half of the positions, one medium a row and port.

    `tokens` says how many tokens the encoder of each input gives of a medium; 1 where it does not.
    """
    selection = select(model.parts(), stage.train)
    thaw(model, selection)
    with FlopCounterMode(display=False) as counter:
        ends = around(model, stage, tokens)
        if runs_llm(stage, selection):
            ends += pass_through(model.llm, stage.batch_size, length, below_learns(selection))
        learning = [end.float().sum() for end in ends if end.requires_grad]
        if learning:
            torch.autograd.backward([torch.stack(learning).sum()])
    model.zero_grad(set_to_none=True)
    total: int = counter.get_total_flops()
    return total


def kept_beside(model: AnyX, stage: Stage, tokens: Heard = NOTHING) -> int:
    """Bytes that everything but the LLM keeps for the backward pass of a step, on `meta`; `tokens` as in `step`."""
    thaw(model, select(model.parts(), stage.train))
    return kept(lambda: around(model, stage, tokens), [*model.parameters(), *model.buffers()])


def around(model: AnyX, stage: Stage, tokens: Heard) -> list[Tensor]:
    """What the LLM's neighbours make in a step: projectors that learn and, where a loss asks them, denoisers."""
    rows, ends = stage.batch_size, []
    for key, port in model.inputs.items():
        if learns(port.projector):
            width = model.encoders[port.encoder].dim
            heard = torch.zeros(rows, tokens.get(key, port.projector.pieces), width, device="meta")
            ends.append(port.projector(Tokens.full(heard)).values)
    asked = denoised(stage, list(model.outputs))
    for key, output in model.outputs.items():
        if key in asked or learns(output.projector):
            states = torch.zeros(rows, output.tokens, model.llm.dim, device="meta")
            condition: Condition = output.projector(Tokens.full(states), states)
            ends += condition.values.values()
            if key in asked and isinstance(output.decoder, Denoiser):
                ends.append(denoise(output.decoder, condition, rows))
    return ends


def denoised(stage: Stage, outputs: Sequence[str]) -> Sequence[str]:
    """The outputs whose denoisers a stage's losses ask."""
    if "denoise" not in stage.losses:
        return []
    options = stage.losses["denoise"]
    keys = options.get("keys") if isinstance(options, Mapping) else None
    return outputs if keys is None else keys


def denoise(decoder: Denoiser, condition: Condition, rows: int) -> Tensor:
    """What a denoiser says of one noisy medium a row under a condition, on `meta`."""
    given = decoder.read(condition)
    dtype = next(iter(given.values.values())).dtype
    noisy = torch.zeros(rows, *decoder.latent_shape, device="meta", dtype=dtype)
    return decoder.predict(noisy, torch.zeros(rows, device="meta", dtype=torch.long), given)


def below_learns(selection: Selection) -> bool:
    """Whether gradients have to come out at the LLM's input."""
    return any(
        name.startswith(("encoders.", "inputs.", "llm.body")) or name == "llm.signal_tokens" for name in selection.names
    )


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


def learns(module: nn.Module) -> bool:
    """Whether anything in a module does."""
    return any(parameter.requires_grad for parameter in module.parameters())


@torch.no_grad()
def encode_once(model: AnyX, key: str, tensors: Mapping[str, Tensor]) -> Once:
    """What one transformed medium of a key costs its encoder, on `meta`, what is kept of it, and what the LLM reads.

    Whole numbers, such as grids, are facts that encoders ask the values of: they stay where they are.
    """
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        tokens = model.encode(
            key, {name: x[None].to("meta") if x.is_floating_point() else x[None] for name, x in tensors.items()}
        )
    stored = tokens.values.numel() * tokens.values.element_size() + tokens.mask.numel()
    with torch.device("meta"):
        read = model.inputs[key].projector(tokens._replace(values=tokens.values.float()))
    return Once(counter.get_total_flops(), stored, tokens.values.shape[1], read.values.shape[1])
