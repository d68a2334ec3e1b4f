"""What makes a large body cheap to tune: LoRA beside its matrices, and those in four bits (QLoRA, arXiv 2305.14314)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig
from transformers import BitsAndBytesConfig

LORA_KEYS = ("r", "alpha", "dropout", "targets")
QUANTIZED = ("nf4",)


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


def quantization(kind: str, dtype: torch.dtype) -> BitsAndBytesConfig:
    """Matrices in four bits, with scales that are quantized too; products are taken in `dtype`.

    `ValueError` for a form that is not known, or where the extra `qlora` is not installed.
    """
    if kind not in QUANTIZED:
        raise ValueError(f"llm.quantize: {kind!r} is not one of {', '.join(QUANTIZED)}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(f"llm.quantize: {kind} needs bitsandbytes; install the extra: pip install -e '.[qlora]'")
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
