"""Where the layers of a transformers causal LM are, by `model_type`, and what its attention is made of.

A family needs a line here before adapters can live in its layers. `query` to `output` are the projections of a layer's
attention where they are modules of their own (fused ones are named by `modules` in adapters that only need names, and
refused by those that must read a query). `rotary: half` turns queries by rotating halves, as Llama does. Where not
`placed`, attention counts how far keys lie back (ALiBi), and position ids change nothing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import nn


class Family(NamedTuple):
    """Paths: `layers` and the last `norm` from the model, the others from a layer."""

    layers: str
    norm: str
    query: str | None = None
    key: str | None = None
    value: str | None = None
    output: str | None = None
    rotary: Literal["half"] | None = None
    placed: bool = True


_LLAMA = Family(
    "model.layers",
    "model.norm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    rotary="half",
)
FAMILIES = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "gemma": _LLAMA,
    "qwen3": Family("model.layers", "model.norm"),  # queries are normalised after their projection
    "phi3": Family("model.layers", "model.norm"),  # one projection for all three
    "opt": Family(
        "model.decoder.layers",
        "model.decoder.final_layer_norm",
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
    ),
    "gpt_neox": Family("gpt_neox.layers", "gpt_neox.final_layer_norm"),
    "gptj": Family("transformer.h", "transformer.ln_f"),  # queries are turned in pairs, and in part
    "mpt": Family("transformer.blocks", "transformer.norm_f", placed=False),
    "bloom": Family("transformer.h", "transformer.ln_f", placed=False),
    "falcon": Family("transformer.h", "transformer.ln_f"),
}


def family(model_type: str) -> Family:
    """The family of a model type; ValueError names those that are known."""
    if model_type not in FAMILIES:
        raise ValueError(f"adapters do not know the layers of {model_type!r}; they know {', '.join(FAMILIES)}")
    return FAMILIES[model_type]


def named(layer: nn.Module, name: str) -> str:
    """The path of a layer's module by the end of it (`q_proj` for `self_attn.q_proj`); exactly one must end so."""
    paths = [path for path, _ in layer.named_modules() if path and "base_layer" not in path and "lora_" not in path]
    found: list[str] = [path for path in paths if path == name or path.endswith(f".{name}")]
    if len(found) != 1:
        told = f"names {len(found)} modules of a layer ({', '.join(found)})" if found else "names no module of a layer"
        raise ValueError(f"{name!r} {told}; it has {', '.join(paths)}")
    return found[0]
