"""Names of a Q-Former's weights in transformers, in the words of LAVIS."""

from __future__ import annotations


def published_name(key: str) -> str:
    """A key of transformers' `Blip2QFormerModel` or `InstructBlipQFormerModel` in LAVIS's words, which are ours."""
    key = key.replace("attention.attention.", "attention.self.").removeprefix("embeddings.")
    if key.startswith("layernorm."):
        key = key.replace("layernorm", "embeddings.LayerNorm")
    elif "_embeddings." in key:
        key = f"embeddings.{key}"
    return f"bert.{key}"
