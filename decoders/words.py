"""Tokenizers of whole words, for text encoders that are built from configurations; any tokenizer written out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # in RoBERTa's order, so that its position ids (pad + 1 + i) stay small


def word_tokenizer(length: int, *, words: Sequence[str] = (), path: str | None = None) -> Any:
    """A tokenizer of whole lower-case words, or one read from a tokenizer.json, that pads to `length`."""
    if path is None:
        vocabulary = {word: i for i, word in enumerate(dict.fromkeys([*SPECIAL, *(w.lower() for w in words)]))}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    else:
        tokenizer = Tokenizer.from_file(path)
    roles = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=length, padding_side="right", **roles)


def written_out(tokenizer: Any) -> str:
    """All that a tokenizer's ids depend on."""
    fast = isinstance(tokenizer, PreTrainedTokenizerFast)
    known = tokenizer.backend_tokenizer.to_str() if fast else json.dumps(tokenizer.get_vocab())
    return f"{tokenizer.model_max_length} {known}"
