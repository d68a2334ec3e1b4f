"""PEFT's configuration of LoRA from what a YAML says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peft import LoraConfig

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
