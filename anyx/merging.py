"""LoRA merged into the LLM for good: an ordinary transformers folder, and a model folder that stands on it.

    out/llm/          the merged language model with its tokenizer, as `AutoModelForCausalLM.from_pretrained` reads it
    out/              our other parts, as every model folder (`anyx.hub`), with `llm.path: ./llm` and no LoRA

The sum is taken in float32 and then stored in the type asked for, so that it is rounded once. Of an LLM that
`llm.quantize` keeps in few bits the matrices in its files are merged, which are whole: replies change by what the few
bits cost. `stages` and `data` are left out of the YAML: they say how the LoRA was learnt, which is no longer there.
"""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path

from anyx import config as configuration
from anyx import hub
from anyx.bodies import DTYPES
from anyx.lora import fold
from anyx.schema import DType

BODY = "llm"
LEFT_OUT = ("lora", "tables", "quantize")  # keys of `llm` that say what is in its weights now


def merge(source: str | Path, out: str | Path, *, dtype: DType | None = None, shard: str = "5GB") -> Path:
    """Write the folder of a model whose LoRA is part of its LLM; returns it.

    `dtype` stores the LLM in another type than the model runs it in, `shard` is the largest file of it ("500MB").
    `ValueError` where there is no LoRA, where the LLM's own files are quantised, where it has adapters that read it
    without LoRA, and where `out` holds something already.
    """
    out = Path(out)
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} holds something already; name another folder")
    model = hub.load(source, dtype="float32", overrides=["llm.quantize=null"])
    config, llm = model.config, model.llm
    assert config is not None
    assert config.llm is not None
    if llm.lora is None:
        raise ValueError(f"{source} has no LoRA: nothing to merge")
    if llm.adapters:
        raise ValueError(
            f"{source}: the adapters {', '.join(llm.adapters)} read the LLM without LoRA, which merged is gone"
        )
    body = llm.model
    if body.config.get_text_config(decoder=True) is not body.config:
        raise ValueError(f"{source}: {body.config.model_type}'s language model has no class of its own to be saved as")
    if held := body.config.to_dict().get("quantization_config"):
        method = held["quant_method"]
        how = method.value if isinstance(method, Enum) else method
        raise ValueError(f"{source}: its LLM is quantised ({how}); LoRA stays beside it, or name one in 16 bits")
    fold(body, llm.parts()["llm.body.tables"])
    kind = dtype or config.llm.dtype
    body.to(DTYPES[kind]).save_pretrained(out / BODY, max_shard_size=shard)
    llm.tokenizer.save_pretrained(out / BODY)

    llm.lora = None
    said = {key: value for key, value in config.raw["llm"].items() if key not in LEFT_OUT}
    raw = {key: value for key, value in config.raw.items() if key not in ("stages", "data")}
    raw["llm"] = said | {"path": str((out / BODY).resolve()), "dtype": kind}
    checked = configuration.check(raw)
    model.config = dataclasses.replace(checked, raw=raw)
    model.learnt = tuple(part for part in model.learnt if not part.startswith("llm.body"))
    return hub.save(model, out)
