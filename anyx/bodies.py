"""The body of an LLM from its files, or drawn at random; in four bits where asked (QLoRA, arXiv 2305.14314)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

QUANTIZED = ("nf4",)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def body_of(
    path: str | Mapping[str, Any], dtype: str, attention: str, quantize: str | None = None, *, weights: bool = True
) -> PreTrainedModel:
    """A causal LM of a folder, of a hub id, or of a configuration, which gives random weights.

    Without `weights` a path is read for its configuration only. `ValueError` for a dtype or a form of four bits that
    is not known, and for a configuration in four bits.
    """
    if dtype not in DTYPES:
        raise ValueError(f"llm.dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
    if quantize is not None and not isinstance(path, str):
        raise ValueError(f"llm.quantize: {quantize!r} given, but llm.path is a configuration: nothing to quantize")
    kind = DTYPES[dtype]
    if weights and isinstance(path, str):
        few = quantization(quantize, kind) if quantize is not None else None
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=kind, attn_implementation=attention, quantization_config=few
        )
    config = AutoConfig.from_pretrained(path) if isinstance(path, str) else AutoConfig.for_model(**path)
    return AutoModelForCausalLM.from_config(config, dtype=kind, attn_implementation=attention)


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
