"""Matrices in four bits, which make a large body cheap to tune beside them (QLoRA, arXiv 2305.14314)."""

from __future__ import annotations

import importlib.util

import torch
from transformers import BitsAndBytesConfig

QUANTIZED = ("nf4",)


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
