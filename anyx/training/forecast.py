"""What a stage will cost, from shapes alone: memory, disk, operations and seconds of a step.

A step is rehearsed (`rehearsal.py`): the parts that run in it are called with fake tensors, there, back, clipped and
stepped, as a later step, when the one before has left its gradients and the optimiser its moments; of an LLM's alike
layers three (`alike.py`). Memory is what is held at the peak, by what it is; a device (`devices.py`) says how long the
calls take. Rows are `length` tokens long, media included, with one medium a key; `supervised` of them are learnt, half
where nothing is said. Frozen encoders and text encoders run once a medium or caption, as their results are kept.

A stage that only aligns does not run the LLM, and output projectors learn from states that it gave once. Of encoders
and autoencoders that learn themselves the way back is not rehearsed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import Parameter
from torch.utils.flop_counter import FlopCounterMode
from transformers import DynamicCache

from anyx.bodies import layers_of
from anyx.interfaces import Condition, Tokens
from anyx.llm import LLM
from anyx.model import AnyX
from anyx.prefix import SHARE
from anyx.schema import Stage
from anyx.training.alike import KEPT, shortened
from anyx.training.chunked import cross_entropy
from anyx.training.devices import Device
from anyx.training.objectives import OF_THE_LLM, states_are_given
from anyx.training.rehearsal import Memory, Rehearsal, Work, pretended
from anyx.training.speed import recomputed
from anyx.training.stage import Selection, lowered, make_optimizer, select, thaw

Parts = Mapping[str, Sequence[Parameter]]
Heard = Mapping[str, int]  # input key -> tokens that its encoder gives of a medium
NOTHING: Heard = {}


class Step(NamedTuple):
    """One step: the memory at its peak, what is called by what it is, how many calls, and their operations."""

    memory: Memory
    works: Mapping[Work, int]
    calls: int

    @property
    def operations(self) -> int:
        """Floating-point operations; a multiply-add is two."""
        return sum(work.operations * count for work, count in self.works.items())

    def seconds(self, device: Device) -> float:
        """How long it takes."""
        return device.seconds(self.works, self.calls)


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

    `heard` are the tokens that it gives, `read` those that the projector makes of them for the LLM; `dtype` is the type
    that it computes in.
    """

    operations: int
    kept: int
    heard: int
    read: int
    dtype: torch.dtype = torch.float32


def size(tensors: Sequence[Tensor]) -> int:
    """Bytes of tensors as they are stored."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def unique(parts: Parts, names: Sequence[str]) -> list[Parameter]:
    """The parameters of some parts, each once."""
    return list({id(parameter): parameter for name in names for parameter in parts[name]}.values())


def runs_llm(stage: Stage, selection: Selection) -> bool:
    """Whether a step of the stage passes through the LLM."""
    return bool(OF_THE_LLM.intersection(stage.losses)) and not states_are_given(stage.losses, selection.names)


def disk(parts: Parts, stage: Stage) -> int:
    """Bytes of a stage's newest checkpoint: what learns and AdamW's two moments of it."""
    return 3 * size(select(parts, stage.train).parameters())


def at_rest(parts: Parts, stage: Stage) -> Memory:
    """The memory of a stage without its activations, where there is no LLM to rehearse with."""
    learning = size(select(parts, stage.train).parameters())
    return Memory(size(unique(parts, list(parts))), learning, moments(stage, learning), 0)


def moments(stage: Stage, learning: int) -> int:
    """Bytes of AdamW's two moments, which have the parameters' own type, and of the moving average if there is one."""
    return (3 if stage.ema else 2) * learning


def rehearse(
    model: AnyX,
    stage: Stage,
    length: int,
    tokens: Heard = NOTHING,
    *,
    supervised: int | None = None,
    native: bool = True,
) -> Step:
    """One step of a model that lies on `meta`.

    `tokens` says how many tokens the encoder of each input gives of a medium; 1 where it does not. `native`: whether
    the device computes bf16 by itself.
    """
    thaw(model, select(model.parts(), stage.train))
    dtype = lowered(stage, native=native)
    again = recomputed(layers_of(model.llm.model)) if stage.gradient_checkpointing else nullcontext()
    with pretended(model):
        selection = select(model.parts(), stage.train)
        layers = layers_of(model.llm.model)
        with Rehearsal() as seen, shortened(model.llm, seen), again:
            seen.know((*model.parameters(), *model.buffers()))
            with torch.autocast("cpu", dtype=dtype) if dtype else nullcontext():
                loss = total(model, stage, selection, length, tokens, supervised)
            way_back = seen.mark()
            if loss.requires_grad:
                torch.autograd.backward([loss])
            del loss
        learning = taught(selection.parameters(), layers, cut=seen.more > 0)
        held = size(learning)
        stepped, adam = update(stage, selection, learning) if learning else (Rehearsal(), 0)
        passed = max(seen.most(until=way_back), seen.most(way_back) - held, stepped.peak)
        weights = size([*model.parameters(), *model.buffers()])
        average = size(selection.parameters()) if stage.ema else 0
        works = seen.works + stepped.works
        return Step(Memory(weights, held, adam + average, passed), dict(works), seen.calls + stepped.calls)


def taught(parameters: Sequence[Parameter], layers: Sequence[nn.Module], *, cut: bool) -> list[Parameter]:
    """The parameters that the way back reached; of layers that were cut, as in those before them."""
    if cut:
        reached = {name for name, parameter in layers[KEPT - 1].named_parameters() if parameter.grad is not None}
        for layer in layers[KEPT:]:
            for name, parameter in layer.named_parameters():
                if name in reached:
                    parameter.grad = torch.empty_like(parameter)
    return [parameter for parameter in parameters if parameter.grad is not None]


def update(stage: Stage, selection: Selection, learning: Sequence[Parameter]) -> tuple[Rehearsal, int]:
    """Clipping and the optimiser's second step, whose moments are there; and the bytes of these."""
    optimizer = make_optimizer(stage, selection)
    with Rehearsal() as seen:
        optimizer.step()
        state = [x for kept in optimizer.state.values() for x in kept.values()]
        seen.know([*selection.parameters(), *(p.grad for p in learning if p.grad is not None)])
        seen.again()
        before = seen.live
        if stage.clip:
            torch.nn.utils.clip_grad_norm_(selection.parameters(), stage.clip)
        optimizer.step()
    seen.sections[0].peak -= before
    return seen, size(state)


def total(
    model: AnyX, stage: Stage, selection: Selection, length: int, tokens: Heard, supervised: int | None
) -> Tensor:
    """The sum of what the losses read, as the step has it."""
    rows, found = stage.batch_size, [torch.zeros(())]
    states = None
    if runs_llm(stage, selection):
        embeddings = laid(model, rows, length, tokens, selection)
        states = said(model, embeddings, selection)
        if "text" in stage.losses:
            llm, learnt = model.llm, states[:, -min(length, supervised or max(1, length // 2)) :].flatten(0, 1)
            labels = torch.zeros(len(learnt), dtype=torch.long)
            found.append(cross_entropy(learnt, labels, llm.logits, llm.head, llm.vocabulary + llm.rows) / len(labels))
    elif not OF_THE_LLM.intersection(stage.losses):
        found += [x.float().pow(2).mean() for x in read(model, rows, tokens, selection).values()]
    asked = denoised(stage, list(model.outputs))
    for key, output in model.outputs.items():
        if key not in asked and not learns(output.projector):
            continue
        at = torch.zeros(rows, output.tokens, model.llm.dim) if states is None else states[:, -output.tokens :].float()
        condition = output.projector(Tokens.full(at), model.llm.embed_signals(written(output.ids, rows)))
        if key in asked and isinstance(output.decoder, Denoiser):
            found.append(denoise(output.decoder, condition, rows).float().pow(2).mean())
        else:
            found += [x.float().pow(2).mean() for x in condition.values.values()]
    return torch.stack([loss for loss in found if loss.requires_grad] or found[:1]).sum()


def written(ids: Sequence[int], rows: int) -> Tensor:
    """A signal group in every row; what rehearses has no values, so its ids are zeros."""
    return torch.zeros(rows, len(ids), dtype=torch.long)


def laid(model: AnyX, rows: int, length: int, tokens: Heard, selection: Selection) -> Tensor:
    """What the LLM reads: media first, then words."""
    words = model.llm.embed(torch.zeros(rows, length, dtype=torch.long))
    media = [x.to(words.dtype) for key, x in read(model, rows, tokens, selection).items() if not model.into[key]]
    return torch.cat([*media, words], 1)[:, :length]


def read(model: AnyX, rows: int, tokens: Heard, selection: Selection) -> dict[str, Tensor]:
    """The projected tokens of each key's media, one medium a row."""
    found = {}
    for key, port in model.inputs.items():
        width = model.encoders[port.encoder].dim
        heard = torch.zeros(rows, tokens.get(key, port.projector.pieces), width)
        below = any(name.startswith(f"encoders.{port.encoder}") for name in selection.names)
        found[key] = port.projector(Tokens.full(heard.requires_grad_(below))).values
    return found


def denoised(stage: Stage, outputs: Sequence[str]) -> Sequence[str]:
    """The outputs whose denoisers a stage's losses ask."""
    if "denoise" not in stage.losses:
        return []
    options = stage.losses["denoise"]
    keys = options.get("keys") if isinstance(options, Mapping) else None
    return outputs if keys is None else keys


def denoise(decoder: Denoiser, condition: Condition, rows: int) -> Tensor:
    """What a denoiser says of one noisy medium a row under a condition."""
    given = decoder.read(condition)
    dtype = next(iter(given.values.values())).dtype
    return decoder.predict(torch.zeros(rows, *decoder.latent_shape, dtype=dtype), written((0,), rows)[:, 0], given)


def said(model: AnyX, embeddings: Tensor, selection: Selection) -> Tensor:
    """The LLM's states; as `anyx.prefix` has it, without gradients before the group of an answer that ends in one."""
    llm, length = model.llm, embeddings.shape[1]
    bodily = any(name.startswith(("llm.body", "llm.lora", "llm.adapters")) for name in selection.names)
    above = length - max([0, *(port.tokens for port in model.outputs.values())])
    media = any(name.startswith(("inputs.", "encoders.")) for name in selection.names)
    if bodily or media or llm.adapters or not embeddings.requires_grad or 2 * length - above > 2 * SHARE * length:
        return pass_through(llm, embeddings)
    cache = DynamicCache(config=llm.model.config.get_text_config(decoder=True))
    with torch.no_grad():
        before = pass_through(llm, embeddings[:, :above], cache)
    return torch.cat([before, pass_through(llm, embeddings[:, above:], cache, above)], 1)


def pass_through(llm: LLM, embeddings: Tensor, cache: DynamicCache | None = None, past: int = 0) -> Tensor:
    """Last states of rows after `past` cached positions.

    transformers asks masks of two dimensions for their values, so it has four; from such a mask OPT cannot tell
    positions, so they are given.
    """
    rows, length = embeddings.shape[:2]
    mask = torch.ones(rows, 1, length, past + length, dtype=torch.bool)
    given = {"inputs_embeds": embeddings.to(llm.model.dtype), "attention_mask": mask, "past_key_values": cache}
    given |= {"position_ids": torch.arange(past, past + length).expand(rows, -1)} if llm.placed else {}
    states: Tensor = llm.model.get_decoder()(**given, use_cache=cache is not None).last_hidden_state
    return states


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
    dtype = next(model.encoders[model.inputs[key].encoder].parameters()).dtype
    return Once(counter.get_total_flops(), stored, tokens.values.shape[1], read.values.shape[1], dtype)
