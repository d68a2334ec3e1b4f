"""Layers that are alike cost alike: of an LLM's, three are rehearsed, and the middle one stands for the rest.

Where its section begins and ends is marked by hooks: on the layers themselves for the way there, on what they read and
give for the way back. Layers that differ, or that something hooks, are all rehearsed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from anyx.bodies import stack_of
from anyx.llm import LLM
from anyx.training.rehearsal import Rehearsal

KEPT = 3


@contextmanager
def shortened(llm: LLM, seen: Rehearsal) -> Iterator[None]:
    """The LLM with three of its layers, inside, if all are alike; what is seen counts for all."""
    stack = stack_of(llm.model)
    layers = list(stack)
    if llm.adapters or len(layers) <= KEPT or not alike(layers) or len(kinds(llm)) > 1:
        yield
        return
    seen.more = len(layers) - KEPT
    first, last = layers[0], layers[KEPT - 1]
    hooks = [
        first.register_forward_hook(lambda _, given, made: mark(seen, hidden(made), there=True)),
        last.register_forward_pre_hook(lambda _, given, named: begin(seen, given, named), with_kwargs=True),
    ]
    held = dict(stack._modules)
    for name in list(held)[KEPT:]:
        del stack._modules[name]
    try:
        yield
    finally:
        stack._modules.update(held)
        for hook in hooks:
            hook.remove()


def begin(seen: Rehearsal, given: Sequence[Any], named: dict[str, Any]) -> None:
    """Before the last layer."""
    mark(seen, hidden(given or named["hidden_states"]), there=False)


def mark(seen: Rehearsal, states: Tensor, *, there: bool) -> None:
    """The layers between begin here, or end here; the other way round on the way back."""
    seen.mark(repeated=there)
    if states.requires_grad and torch.is_grad_enabled():
        states.register_hook(lambda _: ended(seen, repeated=not there))  # type: ignore[no-untyped-call]


def ended(seen: Rehearsal, *, repeated: bool) -> None:
    """On the way back; the gradient is left as it is."""
    seen.mark(repeated=repeated)


def hidden(states: Any) -> Tensor:
    """What a layer is given or gives first."""
    found: Tensor = states if isinstance(states, Tensor) else states[0]
    return found


def alike(layers: Sequence[nn.Module]) -> bool:
    """Whether layers have the same modules, of the same sizes and settings, and hooks on none."""
    return len({made_of(layer) for layer in layers}) == 1


def made_of(layer: nn.Module) -> tuple[object, ...]:
    """What layers are compared by."""
    modules = [
        (name, type(x), x.training, x.extra_repr(), x._forward_hooks or x._forward_pre_hooks)
        for name, x in layer.named_modules()
    ]
    tensors = [
        (name, x.shape, x.dtype, x.requires_grad) for name, x in (*layer.named_parameters(), *layer.named_buffers())
    ]
    hooks = any(kept for *_, kept in modules)
    return (*(entry[:-1] for entry in modules), *tensors, id(layer) if hooks else None)


def kinds(llm: LLM) -> set[str]:
    """How the layers attend, where that is said of each."""
    return set(llm.model.config.get_text_config(decoder=True).to_dict().get("layer_types") or ())
