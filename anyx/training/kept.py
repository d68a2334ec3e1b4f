"""What autograd keeps for the way back, counted on the `meta` device: the bytes of every tensor that a graph saves.

Weights are not counted again, and a storage that several saved tensors view counts once. Attention is counted as the
fused kernels of GPUs and CPUs keep it: queries, keys, values, result and one number a query and head. On `meta` alone
torch would take the form that keeps the matrix of weights between all positions, which for the largest pictures of a
denoiser is most of what it would say.

Letters: b rows, h heads, n queries, m keys, d features of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class Fused(TorchFunctionMode):
    """Attention by the fused kernel wherever it can be, also on `meta`."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call what was called, but the fused kernel for attention."""
        call = fused if func is F.scaled_dot_product_attention else func
        return call(*args, **(kwargs or {}))


def fused(
    query: Float[Tensor, "*b h n d"],
    key: Float[Tensor, "*b h m d"],
    value: Float[Tensor, "*b h m d"],
    attn_mask: Bool[Tensor, ...] | Float[Tensor, ...] | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Float[Tensor, "*b h n d"]:
    """`scaled_dot_product_attention` by the kernel that keeps no weights between positions, which reads batches."""
    if query.ndim != 4:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    if attn_mask is not None:
        mask = attn_mask if attn_mask.is_floating_point() else torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = mask.expand(*query.shape[:3], key.shape[2])
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    attend = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    attended: Tensor = attend(query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale)[0]
    return attended


def kept(run: Callable[[], object], held: Iterable[Tensor]) -> int:
    """Bytes that the graph of what `run` computes keeps, but for those of tensors that are `held` anyway."""
    own = {tensor.untyped_storage()._cdata for tensor in held}
    saved: dict[int, torch.UntypedStorage] = {}  # held until the end: a number is free again with its storage

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor), Fused():
        made = run()
    total = sum(storage.nbytes() for storage in saved.values())
    del made  # the graph, until here
    return total
