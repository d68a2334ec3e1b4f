"""One step of several processes as if it were one: what each adds to the loss of the whole, and that none is missed.

Every process has its own part of a batch: other numbers of words, other media, perhaps nothing at all. A loss is a mean
over the whole batch, so its divisors are summed over the processes (one small message a step) and each gives its own
part of it. And every process takes part in every gradient: a backward pass runs through all that learns, whether or not
this process had something for it. Nothing is computed for what it had not, and no number of it is read, so that it
costs next to nothing and no infinity can get in. What none of them had keeps no gradient, as in a run of one process.

Gradients are averaged by the engine while they are made, or here, before the optimiser's step (FSDP, whose engine
knows frozen layers only). DeepSpeed keeps gradients to itself, and expects one of everything: there what none of them
had gets zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from anyx.ranks import Ranks
from anyx.training.conditions import Found
from anyx.training.losses import Mean

NAMES, SUMS = 4, 4  # a key's means at most; numbers kept of each: its sums, and whether there is one


class Together:
    """What the processes of a stage say to one another at every step, about `parameters` that learn.

    `slots` are the terms and keys that any batch may have, in an order that all processes share.
    """

    def __init__(
        self, ranks: Ranks, parameters: Sequence[Parameter], slots: Sequence[tuple[str, str]], strategy: str = "auto"
    ) -> None:
        self.ranks = ranks
        self.averages, self.apart = strategy == "fsdp", strategy.startswith("deepspeed")
        self.parameters = list(parameters)
        self.places = {slot: place for place, slot in enumerate(slots)}
        self.terms = list(dict.fromkeys(term for term, _ in slots))
        self.applied = False  # whether a loss was found, since the last optimiser step
        self.reached = [False] * len(self.parameters)  # by a gradient, since then
        self.hooks = [
            parameter.register_hook(partial(self.note, place))  # type: ignore[no-untyped-call]
            for place, parameter in enumerate(self.parameters)
        ]

    def release(self) -> None:
        """Listen to the parameters no longer."""
        for hook in self.hooks:
            hook.remove()

    def note(self, place: int, gradient: Tensor | None) -> None:
        """A gradient came, or word that there is none."""
        self.reached[place] |= gradient is not None

    def shared(self, found: Mapping[str, Found], device: torch.device) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of each term: what averages over the processes to its loss of the whole batch, and whether that has one."""
        self.applied |= bool(found)
        own = torch.zeros(len(self.places), NAMES, SUMS, dtype=torch.float64, device=device)
        for term, said in found.items():
            for key, means in said.means.items():
                for name, mean in enumerate(means.values()):
                    for number, value in enumerate(mean.sums()):
                        own[self.places[term, key], name, number] = value
                    own[self.places[term, key], name, -1] = 1
        whole = self.ranks.sum(own)

        def scaled(term: str, key: str, name: int, mean: Mean) -> Tensor:
            mine, all_of_it = (sums[self.places[term, key], name, :-1] for sums in (own, whole))
            share = mean.over(mine) / mean.over(all_of_it) * self.ranks.world
            return mean.value * share.to(mean.value.dtype)

        nothing = torch.zeros((), device=device)
        losses = {term: found[term].joined(partial(scaled, term)) if term in found else nothing for term in self.terms}
        there = {
            term: whole[[place for (name, _), place in self.places.items() if name == term], :, -1].sum() > 0
            for term in self.terms
        }
        return losses, there

    def joined(self, total: Tensor, states: Sequence[Tensor] = ()) -> Tensor:
        """The loss, whose backward pass reaches everything that learns, and `states` with zeros at least."""
        zeroed = len(states) + (len(self.parameters) if self.apart else 0)
        found: Tensor = Reaching.apply(total, zeroed, *states, *self.parameters)  # type: ignore[no-untyped-call]
        return found

    def settle(self) -> bool:
        """Before the optimiser's step: take away the gradients of what no process had; False where no loss applied.

        Where gradients reached nothing at all, all get zeros.
        """
        applied, *reached = self.ranks.any([self.applied, *self.reached])
        self.applied, self.reached = False, [False] * len(self.parameters)
        if self.apart:
            return applied
        if not any(reached):
            reached = [True] * len(self.parameters)
        for parameter, had in zip(self.parameters, reached, strict=True):
            if not had:
                parameter.grad = None
            elif parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self.averages:
            self.average([p.grad for p in self.parameters if p.grad is not None])
        return applied

    def average(self, gradients: Sequence[Tensor]) -> None:
        """Put the mean over the processes in the place of each."""
        for dtype in sorted({gradient.dtype for gradient in gradients}, key=str):
            some = [gradient for gradient in gradients if gradient.dtype == dtype]
            flat = self.ranks.sum(torch.cat([gradient.flatten() for gradient in some])) / self.ranks.world
            means = torch.split(flat, [gradient.numel() for gradient in some])
            for gradient, mean in zip(some, means, strict=True):
                gradient.copy_(mean.view_as(gradient))

    def mean(self, values: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
        """The average of numbers over the processes, by name."""
        if not values:
            return {}
        total = self.ranks.sum(torch.stack([values[name].to(device) for name in values])) / self.ranks.world
        return dict(zip(values, total.unbind(), strict=True))


class Reaching(torch.autograd.Function):
    """A value as it is, on whose way back tensors are passed: some with zeros, the rest with word of nothing."""

    @staticmethod
    def forward(ctx: Any, total: Tensor, count: int, *tensors: Tensor) -> Tensor:
        """The value; the first `count` tensors get zeros."""
        ctx.zeroed = [(tensor.shape, tensor.dtype, tensor.device) for tensor in tensors[:count]]
        ctx.rest = len(tensors) - count
        return total.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The value's gradient; of the tensors zeros or none."""
        zeros = [torch.zeros(shape, dtype=dtype, device=device) for shape, dtype, device in ctx.zeroed]
        return gradients[0], None, *zeros, *[None] * ctx.rest
