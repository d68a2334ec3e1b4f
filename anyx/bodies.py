"""The body of an LLM from its files, or drawn at random; in four or eight bits where asked.

Four as QLoRA has them (arXiv 2305.14314), eight as LLM.int8() (arXiv 2208.07339).

`ending` has it read a prompt of which the last states alone are wanted.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from anyx.unpadded import FAMILIES

QUANTIZED = ("nf4", "int8")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def body_of(
    path: str | Mapping[str, Any], dtype: str, attention: str, quantize: str | None = None, *, weights: bool = True
) -> PreTrainedModel:
    """A causal LM of a folder, of a hub id, or of a configuration, which gives random weights.

    Without `weights` a path is read for its configuration only. `ValueError` for a dtype or a form of few bits that
    is not known, and for a configuration in few bits.
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
    """Matrices in four bits, with scales that are quantized too and products in `dtype`; or in eight, by rows.

    `ValueError` for a form that is not known, or where the extra `qlora` is not installed.
    """
    if kind not in QUANTIZED:
        raise ValueError(f"llm.quantize: {kind!r} is not one of {', '.join(QUANTIZED)}")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValueError(f"llm.quantize: {kind} needs bitsandbytes; install the extra: pip install -e '.[qlora]'")
    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=kind, bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def layers_of(body: PreTrainedModel) -> list[nn.Module]:
    """The layers of a causal LM."""
    return list(stack_of(body))


def stack_of(body: PreTrainedModel) -> nn.ModuleList:
    """What holds them: of the lists of modules in it that lie in no other list, the one that weighs most."""
    lists = {name: part for name, part in body.get_decoder().named_modules() if isinstance(part, nn.ModuleList)}
    outer = [part for name, part in lists.items() if not any(name.startswith(f"{other}.") for other in lists)]
    return max(outer, key=lambda part: sum(x.numel() for x in part.parameters()), default=nn.ModuleList())


@contextmanager
def ending(body: PreTrainedModel) -> Iterator[None]:
    """Within the block this thread's calls give the right states at their last position alone.

    After the last layer's attention nothing looks from one position to another, so its feed-forward, most of a layer's
    products, runs at that position only. Its sum with what it is added to broadcasts, and is wrong elsewhere. Bodies of
    other families than `anyx.unpadded` knows, and those whose layers have no part called `mlp`, do as ever.
    """
    layers = layers_of(body) if body.config.model_type in FAMILIES else []
    last = dict(layers[-1].named_children()).get("mlp") if layers else None
    if last is None:
        yield
        return
    handle = last.register_forward_pre_hook(partial(only_last, get_ident()))
    try:
        yield
    finally:
        handle.remove()


def only_last(thread: int, module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of what a module is given (b, n, d) the last position, in one thread."""
    return (given[0][:, -1:], *given[1:]) if get_ident() == thread else given
