"""Cross-entropy over a large vocabulary without keeping its logits.

The gradient of each chunk of positions is taken as soon as its loss is known, so that no more than one chunk of logits
is ever held, and none between forward and backward. No product is computed twice. The idea is that of fused linear
cross-entropy (Liger kernels, arXiv 2410.10989), in plain torch, for any head.

Letters: m positions, d width, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

BOUND = 1 << 26  # bytes of a chunk's logits in float32


def cross_entropy(
    states: Float[Tensor, "m d"],
    labels: Int[Tensor, " m"],
    head: Callable[[Float[Tensor, "n d"]], Float[Tensor, "n v"]],
    weights: Sequence[Tensor],
    vocabulary: int,
) -> Float[Tensor, ""]:
    """The sum over positions of the cross-entropy of `head(states)`, which reads the `weights`."""
    learning = [weight for weight in weights if weight.requires_grad]
    size = max(1, BOUND // (4 * vocabulary))
    wanted = torch.is_grad_enabled() and bool(states.requires_grad or learning)
    if not wanted:
        return torch.stack([loss(*part, head) for part in chunks(states, labels, size)] or [states.sum() * 0]).sum()
    found: Tensor = Chunked.apply(head, size, labels, states, *learning)  # type: ignore[no-untyped-call]
    return found


class Chunked(torch.autograd.Function):
    """The sum of the chunks' losses; its gradients are known when it is."""

    @staticmethod
    def forward(ctx: Any, head: Any, size: int, labels: Tensor, states: Tensor, *weights: Tensor) -> Tensor:
        """Loss and gradients, chunk by chunk."""
        upwards = ctx.needs_input_grad[3]
        total = states.new_zeros((), dtype=torch.float32)
        ups, sums = [], [torch.zeros_like(weight) for weight in weights]
        for some, target in chunks(states.detach(), labels, size):
            some.requires_grad_(upwards)
            with torch.enable_grad():
                said = loss(some, target, head)
            found = torch.autograd.grad(said, [*([some] if upwards else []), *weights])
            if upwards:
                ups.append(found[0])
            for held, more in zip(sums, found[len(found) - len(sums) :], strict=True):
                held += more
            total += said.detach()
        ctx.save_for_backward(*([torch.cat(ups) if ups else torch.zeros_like(states)] if upwards else []), *sums)
        ctx.upwards = upwards
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients that are known, times the given one."""
        found = [gradients[0].to(x.dtype) * x for x in ctx.saved_tensors]
        return (None, None, None, *([] if ctx.upwards else [None]), *found)


def chunks(states: Tensor, labels: Tensor, size: int) -> list[tuple[Tensor, Tensor]]:
    """Positions in chunks of a size."""
    return [(states[i : i + size], labels[i : i + size]) for i in range(0, len(labels), size)]


def loss(states: Tensor, labels: Tensor, head: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of cross-entropies of one chunk."""
    return F.cross_entropy(head(states).float(), labels, reduction="sum")
