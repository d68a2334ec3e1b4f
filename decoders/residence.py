"""Where a decoder's weights are between requests: `offload` is `never` or `model`.

`never`: they stay on the device that `to` put them on. `model`: they wait in the memory they are in (the CPU's), `to`
changes their dtype but not their place, and for each call of `forward` a copy of them is on the device of the
condition. Nothing is copied back: decoding changes no weight. Training such a decoder happens where its weights wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from .threads import alone

Offload = Literal["never", "model"]


def check_offload(offload: Offload) -> Offload:
    """One of the policies."""
    if offload not in get_args(Offload):
        raise ValueError(f"offload: {offload!r} is not one of {', '.join(get_args(Offload))}")
    return offload


def stay(decoder: Any, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    """What `to`, `cuda` and the like do to a decoder: an `_apply` that leaves weights where they wait."""

    def there(tensor: Tensor) -> Tensor:
        made = fn(tensor)
        return made if tensor.is_meta or made.device == tensor.device else tensor.to(made.dtype)

    apply: Any = nn.Module._apply
    return apply(decoder, fn if decoder.offload == "never" else there, recurse)


@contextmanager
def lent(models: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """Copies of the models' weights on the device for as long as the block lasts; those that wait are not touched.

    One thread at a time has them: the copies of one would be taken away at the end of another's block.
    """
    models = list(models)
    waiting: list[tuple[dict[str, Any], str, Tensor]] = []
    with alone(models):
        try:
            for module in (module for model in models for module in model.modules()):
                _lend(module, device, waiting)
            yield
        finally:
            for tensors, name, tensor in waiting:
                tensors[name] = tensor


def _lend(module: nn.Module, device: torch.device, waiting: list[tuple[dict[str, Any], str, Tensor]]) -> None:
    """Put copies on the device in the place of a module's own tensors; `waiting` gets what stood there, and where."""
    tables: list[dict[str, Any]] = [module._parameters, module._buffers, vars(module)]  # the last: of weight norm
    for tensors in tables:
        for name, tensor in tensors.items():
            if isinstance(tensor, Tensor) and tensor.device != device:
                copy = tensor.detach().to(device)
                waiting.append((tensors, name, tensor))
                tensors[name] = nn.Parameter(copy, False) if isinstance(tensor, nn.Parameter) else copy
