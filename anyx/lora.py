"""LoRA in a causal LM: PEFT's configuration from ours, and its weights merged into the LLM's for as long as it speaks.

What is put into the place of a weight is dropped afterwards and the old one put back, so a merge leaves nothing behind;
subtracting it again, as PEFT does, would leave rounding errors. Merged, a call costs what one of the LLM alone costs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import nn

LORA_KEYS = ("r", "alpha", "dropout", "targets")


def lora_config(lora: Mapping[str, Any]) -> LoraConfig:
    """PEFT's configuration from `{r, alpha, dropout, targets}`; alpha is r and dropout 0 unless given."""
    unknown = sorted(set(lora) - set(LORA_KEYS))
    if unknown or "r" not in lora or "targets" not in lora:
        raise ValueError(f"llm.lora: keys {sorted(lora)} given; it needs r and targets, and may have alpha and dropout")
    targets = lora["targets"] if isinstance(lora["targets"], str) else list(lora["targets"])
    return LoraConfig(
        r=lora["r"],
        lora_alpha=lora.get("alpha", lora["r"]),
        lora_dropout=lora.get("dropout", 0.0),
        target_modules=targets,
    )


@contextmanager
def merged(model: nn.Module, shared: Collection[nn.Parameter] = ()) -> Iterator[None]:
    """Within the block the LLM's weights hold LoRA's; after it they are, bit for bit, what they were.

    It takes the memory of the changed weights once more. Quantised weights and those of `shared` stay as they are, and
    their LoRA beside them. Nothing is learnt within: LoRA's own weights get no gradients.
    """
    kept: list[tuple[LoraLayer, nn.Parameter, torch.Tensor]] = []
    try:
        for layer in [module for module in model.modules() if isinstance(module, LoraLayer)]:
            weight = layer.get_base_layer().weight
            plain = isinstance(weight, nn.Parameter) and weight.is_floating_point() and not layer.merged
            if plain and not any(weight is other for other in shared):
                kept.append((layer, weight, weight.data))
                weight.data = weight.data.clone()
                layer.merge()
        yield
    finally:
        for layer, weight, before in kept:
            weight.data = before
            layer.merged_adapters.clear()


@torch.no_grad()
def fold(model: nn.Module, shared: Collection[nn.Parameter] = ()) -> int:
    """Put LoRA into the LLM's weights for good, and take it out of its modules; how many matrices changed.

    `ValueError` for quantised matrices, which cannot hold the sum, and for those of `shared`, which stand elsewhere
    too.
    """
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    for name, layer in layers.items():
        weight = layer.get_base_layer().weight
        if not (isinstance(weight, nn.Parameter) and weight.is_floating_point()):
            raise ValueError(
                f"llm.lora: {name} is quantised ({type(weight).__name__}), so LoRA cannot be merged into it"
            )
        if any(weight is other for other in shared):
            raise ValueError(f"llm.lora: {name} is the LLM's table of words, which signal tokens stand beside")
    for name, layer in layers.items():
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    return len(layers)
