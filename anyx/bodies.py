"""The body of an LLM from its files, or drawn at random; in four or eight bits where asked.

Four as QLoRA has them (arXiv 2305.14314), eight as LLM.int8() (arXiv 2208.07339).

Any causal LM of transformers will do that reads by attention and from left to right. One that is quantised already
(GPTQ, AWQ, bitsandbytes, ...) stays as its own `quantization_config` says. Of a multimodal model its language model is
the body: its own class where transformers has one (LLaVA's Llama, Gemma 3's text model), else the model itself without
its towers (Qwen2-VL). `ending` has it read a prompt of which the last states alone are wanted.

Letters: b positions, v vocabulary.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    BitsAndBytesConfig,
    DynamicCache,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MULTIMODAL_LM_MAPPING

from anyx.unpadded import FAMILIES

QUANTIZED = ("nf4", "int8")
TWO_WAYS = (
    "bert",
    "roberta",
    "electra",
    "camembert",
    "xlm-roberta",
    "xlm-roberta-xl",
    "ernie",
    "rembert",
    "megatron-bert",
)
ATTENTIVE = {DynamicLayer, DynamicSlidingWindowLayer}
RECURRENT = ("mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm", "recurrent_gemma")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


# What a family does to the products of its head, by the key of its configuration.
CAPPED = "final_logit_softcapping"
DIVIDED = ("granite", "granitemoe", "granitemoehybrid", "granitemoeshared", "granite_swa", "granitemoe_swa")
MULTIPLIED = ("cohere", "cohere2", "cohere2_moe")
PACKS = "support_avx512bf16_for_cpu"
EIGHT = "bitsandbytes.autograd._functions"  # its log says at every product of eight bits what it rounds: 210 a word
log = logging.getLogger("anyx")


def body_of(
    path: str | Mapping[str, Any], dtype: str, attention: str, quantize: str | None = None, *, weights: bool = True
) -> PreTrainedModel:
    """A causal LM of a folder, of a hub id, or of a configuration, which gives random weights.

    Without `weights` a path is read for its configuration only. `ValueError` for a dtype or a form of few bits that
    is not known, for a configuration in few bits, for a checkpoint that is quantised already where few bits are asked
    for, and for a model that is no causal LM of attention.
    """
    if dtype not in DTYPES:
        raise ValueError(f"llm.dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
    if quantize is not None and not isinstance(path, str):
        raise ValueError(f"llm.quantize: {quantize!r} given, but llm.path is a configuration: nothing to quantize")
    kind = DTYPES[dtype]
    config = AutoConfig.from_pretrained(path) if isinstance(path, str) else AutoConfig.for_model(**path)
    text = config.get_text_config(decoder=True)
    check(config)
    held = config.to_dict().get("quantization_config")
    if quantize is not None and held is not None:
        told = f"{path} is quantised already ({held['quant_method']})"
        raise ValueError(f"llm.quantize: {quantize!r} given, but {told}; leave quantize out")
    loader = AutoModelForMultimodalLM if type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING else AutoModelForCausalLM
    if weights and isinstance(path, str):
        # a keyword of None would take a checkpoint's own quantisation away
        few = {} if quantize is None else {"quantization_config": quantization(quantize, kind)}
        how = supported(loader, config, attention)
        try:
            body = loader.from_pretrained(path, dtype=kind, attn_implementation=how, **few)
        except (ImportError, RuntimeError, ValueError) as error:  # of quantisers, where their packages or devices miss
            if held is None:
                raise
            told = f"is kept in {held['quant_method']}, which cannot be read here: {' '.join(str(error).split())}"
            raise ValueError(f"llm.path: {path} {told}") from error
        logging.getLogger(EIGHT).addFilter(unrepeated)
        learnable(body)
        return language_model(body)
    if text is not config and type(text) in MODEL_FOR_CAUSAL_LM_MAPPING:
        config, loader = text, AutoModelForCausalLM
    how = supported(loader, config, attention)
    return language_model(loader.from_config(config, dtype=kind, attn_implementation=how))


def check(config: PreTrainedConfig) -> None:
    """Hold a configuration against what a body has to be: a decoder of attention alone.

    `ValueError` for encoder-decoders, for what is no language model or reads both ways, and for layers that keep more
    than keys and values: no row can leave a recurrent state as it was while another row says a signal group.
    """
    text = config.get_text_config(decoder=True)
    kind = " with ".join(dict.fromkeys((config.model_type, text.model_type)))
    known = any(type(one) in MODEL_FOR_CAUSAL_LM_MAPPING for one in (config, text))
    if config.is_encoder_decoder or text.is_encoder_decoder:
        raise ValueError(f"llm.path: {kind} is an encoder-decoder; a body is a causal LM, such as llama or qwen3")
    if not known and type(config) not in MODEL_FOR_MULTIMODAL_LM_MAPPING:
        raise ValueError(f"llm.path: {kind} is no language model; a body is a causal LM, such as llama or qwen3")
    if text.to_dict().get("is_decoder") is False and text.model_type in TWO_WAYS:
        raise ValueError(f"llm.path: {kind} reads both ways; a body is a causal LM, such as llama or qwen3")
    others = {type(layer) for layer in DynamicCache(config=text).layers} - ATTENTIVE
    if text.model_type in RECURRENT or others:
        told = f"its cache is of {', '.join(sorted(x.__name__ for x in others))}" if others else "it is recurrent"
        raise ValueError(f"llm.path: {kind} keeps more than keys and values ({told}); a body reads by attention alone")


def supported(loader: Any, config: PreTrainedConfig, attention: str) -> str:
    """The attention asked for, or `eager` in the place of `sdpa` where the family has none: the same numbers."""
    cls = loader._model_mapping.get(type(config), None)
    if attention == "sdpa" and cls is not None and not cls._supports_sdpa:
        log.info("llm: %s has no sdpa attention; it attends in plain torch (eager)", config.model_type)
        return "eager"
    return attention


def language_model(model: PreTrainedModel) -> PreTrainedModel:
    """What of a model is a causal LM: itself, the LM inside it, or itself without its towers."""
    text = model.config.get_text_config(decoder=True)
    if text is model.config:
        return model
    own = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(text), None)
    if own is not None and isinstance(model, own):
        return model
    if inner := [part for part in model.modules() if own is not None and isinstance(part, own)]:
        return inner[0]
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    if own is not None:
        with torch.device("meta"):
            made = own(text)
        if type(made.base_model) is type(decoder):
            setattr(made, made.base_model_prefix, decoder)
            made.set_output_embeddings(head)
            made.generation_config = model.generation_config
            return made.eval()
    base = model.base_model
    for name, part in list(base.named_children()):
        if not any(decoder is inner for inner in part.modules()):
            delattr(base, name)
    return model


def scaling(config: PreTrainedConfig) -> Callable[[Tensor], Tensor] | None:
    """What a family does to the products of its head, elementwise, if anything; `ValueError` where that is not known.

    Granite divides them, Cohere multiplies them, Gemma 2 and others cap them by tanh.
    """
    text = config.get_text_config(decoder=True)
    given = text.to_dict()
    cap, divisor, factor = (given.get(name) for name in (CAPPED, "logits_scaling", "logit_scale"))
    if (divisor not in (None, 1) and text.model_type not in DIVIDED) or (
        factor not in (None, 1) and text.model_type not in MULTIPLIED
    ):
        raise ValueError(f"llm: {text.model_type} rescales its logits in a way that is not known here")
    if divisor not in (None, 1):
        return partial(times, 1 / float(divisor))
    if factor not in (None, 1):
        return partial(times, float(factor))
    return partial(capped, float(cap)) if cap is not None else None


def times(factor: float, logits: Tensor) -> Tensor:
    """Logits (b, v) times a number."""
    return logits * factor


def capped(cap: float, logits: Tensor) -> Tensor:
    """Logits (b, v) squeezed into -cap ... cap."""
    return torch.tanh(logits / cap) * cap


def magnified(embedding: nn.Module) -> float:
    """By what a table multiplies the rows it hands out (Gemma's: the root of the width); 1 for a plain one."""
    found = vars(embedding).get("scalar_embed_scale", vars(embedding).get("embed_scale", 1.0))
    return float(found)


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


def learnable(body: nn.Module) -> None:
    """Keep matrices of four bits in the layout that gradients pass.

    On CPUs with AVX512-BF16 bitsandbytes lays a matrix out anew when it is first read without gradients, in a
    validation or a reply; later gradients end there, without a word.
    """
    for part in body.modules():
        if PACKS in vars(part):
            setattr(part, PACKS, False)


def unrepeated(record: logging.LogRecord) -> bool:
    """Whether a line of a log is another than that bitsandbytes rounds the inputs of a product to float16."""
    return not str(record.msg).startswith("MatMul8bitLt: inputs will be cast")


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
