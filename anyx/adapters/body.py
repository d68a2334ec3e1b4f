"""A causal LM whose layers can be hooked: the one mechanism under all adapters.

Each layer keeps its module and its parameters' names, but its class becomes a child of its own class (`Hooked`), so
that `isinstance`, recorded hidden states and gradient checkpointing go on working. A pre-hook, which runs outside a
checkpointed forward, adds what the call's context says as a keyword of the layer; the keyword is kept for the
recomputation, and for the length of the layer's forward it is published to the hooks of the modules inside (`FRAME`).
What adapters learn lies outside the LLM's module tree: a state dict of the plain LLM loads strictly.

PEFT may have wrapped a module before or may wrap it after. `inner` is the LLM's own module (its weights without LoRA),
`outer` what the layer calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from anyx.adapters.families import family, named
from anyx.context import CARRIED, Values

KEYWORD = "anyx_readings"
CACHES = ("past_key_values", "layer_past")  # what families call a layer's cache
DISPATCHED = "_hf_hook"  # accelerate's mark on a module whose forward it has replaced

Before = Callable[[Tensor, Values], Tensor]


@dataclass
class Frame:
    """One forward of one layer: readings by adapter, the layer's other keywords, and what hooks leave each other."""

    readings: Mapping[str, Values]
    given: Mapping[str, Any] = field(default_factory=dict)
    notes: dict[Any, Any] = field(default_factory=dict)

    def of(self, name: str) -> Values:
        """The readings of an adapter; none where the call has none."""
        return self.readings.get(name, {})


FRAME: ContextVar[Frame | None] = ContextVar("anyx_frame", default=None)


@contextmanager
def published(frame: Frame) -> Iterator[Frame]:
    """Let the hooks of the modules called inside read a frame."""
    token = FRAME.set(frame)
    try:
        yield frame
    finally:
        FRAME.reset(token)


class Hooked:
    """Before its class in the bases of a hooked layer: what runs first in it, and the frame its modules' hooks read."""

    anyx_before: list[tuple[str, Before]]

    def forward(self, hidden_states: Tensor, *others: Any, **keywords: Any) -> Any:
        """As the layer itself; the readings are ours, all else is the layer's own."""
        given = dict(keywords)
        readings = given.pop(KEYWORD, {})
        with published(Frame(readings, given)) as frame:
            for name, act in self.anyx_before:
                hidden_states = act(hidden_states, frame.of(name))
            return super().forward(hidden_states, *others, **given)  # type: ignore[misc]  # the next class has one


@cache
def hooked(cls: type[nn.Module]) -> type[nn.Module]:
    """The hooked child of a layer's class, under the same name: sharding and placement go by it."""
    return type(cls.__name__, (Hooked, cls), {"__module__": cls.__module__})


class Body:
    """The layers of a causal LM, made ready for adapters; `dim` is its width, `heads` the attention's."""

    def __init__(self, model: PreTrainedModel) -> None:
        config = model.config.get_text_config(decoder=True)
        self.family = family(config.model_type)
        if moved := [name for name, module in model.named_modules() if DISPATCHED in vars(module)]:
            told = f"{moved[0]!r} was placed by accelerate, whose replaced forward would pass adapters by"
            raise ValueError(f"{told}; install adapters before dispatch (load without device_map)")
        self.model = model
        above, _, last = self.family.norm.rpartition(".")
        self.norm = dict(model.get_submodule(above).named_children()).get(last)  # OPT-350m has none
        self.layers = list(model.get_submodule(self.family.layers).children())
        self.dim: int = config.hidden_size
        self.heads: int = config.num_attention_heads
        for index, layer in enumerate(self.layers):
            if not isinstance(layer, Hooked):
                layer.__class__ = hooked(type(layer))  # type: ignore[arg-type]  # classes are hashable
                layer.anyx_before = []
                layer.register_forward_pre_hook(partial(add_readings, index), with_kwargs=True)

    def before(self, index: int, name: str, act: Before) -> None:
        """Run something on the states that a layer is about to read; it is given the readings of the adapter `name`."""
        layer = self.layers[index]
        assert isinstance(layer, Hooked)
        layer.anyx_before.append((name, act))

    def modules(self, names: list[str], index: int) -> dict[str, nn.Module]:
        """Modules of a layer by their paths in it, found by the ends of these; the LLM's own, without LoRA."""
        layer = self.layers[index]
        return {path: inner(layer.get_submodule(path)) for path in (named(layer, name) for name in names)}

    def claim(self, module: nn.Module, name: str, *, alone: bool = False) -> None:
        """Note that an adapter hooks a module; `alone`: it cuts or replaces what others would read there."""
        owners: dict[str, bool] = vars(module).setdefault("anyx_claimed", {})
        others = {owner: lone for owner, lone in owners.items() if owner != name}
        if others and (alone or any(others.values())):
            told = f"adapters {next(iter(others))!r} and {name!r} name the same {type(module).__name__}"
            raise ValueError(f"{told}; only one may, where one of them is to have it to itself")
        owners[name] = alone


def add_readings(
    index: int, layer: nn.Module, given: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The pre-hook of a layer: what the context that is carried says of this call."""
    context = CARRIED.get()
    if context is None:
        return given, keywords
    states = given[0] if given else keywords["hidden_states"]
    caches = [keywords[name] for name in CACHES if keywords.get(name) is not None]
    past = int(caches[0].get_seq_length(index)) if caches else 0
    return given, {**keywords, KEYWORD: context.at(past, *states.shape[:2])}


def inner(module: nn.Module) -> nn.Module:
    """The LLM's own module under PEFT's."""
    children = dict(module.named_children())
    return children.get("base_layer", module)


def plant(root: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a dotted path under a root, by empty modules between: names of weights are the LLM's own."""
    *between, last = path.split(".")
    for name in between:
        children = dict(root.named_children())
        if name not in children:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(last, module)
