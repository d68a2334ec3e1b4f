"""The text side of a decoder: the teacher of its condition space, absent at run time.

`TextEncoder` holds the tokenizer and the text encoder of one decoder. Both are loaded when captions are to be encoded,
and not before: decoding only needs the null condition (the encoding of ""), which is cached and saved with the folder.

Letters: b captions, n positions, d width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from jaxtyping import Bool, Float
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from anyx.interfaces import Condition

from .folders import Source, is_meta, portable, quiet

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # in RoBERTa's order, so that its position ids (pad + 1 + i) stay small
NAME = "prompt_embeds"


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


class TextEncoder(nn.Module):
    """Captions -> conditions (b, n, d), by CLIP's sequence of states or, `pooled`, by CLAP's one normalised vector."""

    cached: Tensor | None
    encoder: Any

    def __init__(
        self,
        source: Source,
        *,
        config: Mapping[str, Any] | None,
        tokenizer: Mapping[str, Any] | None,
        length: int | None,
        dim: int,
        pooled: bool = False,
        load: bool = False,
    ) -> None:
        super().__init__()
        self.source, self.pooled, self.dim = source, pooled, dim
        self.encoder = None
        self.tokenizer: Any = None
        self.register_buffer("cached", source.null().get(NAME), persistent=False)
        if config is not None and source.class_of("text_encoder") is None:
            spec = dict(tokenizer or {})
            positions = spec.pop("length", None) or length or config.get("max_position_embeddings", 77)
            self.tokenizer = word_tokenizer(positions, **spec)
            self.encoder = self._build(config, positions)
        self.length = 1 if pooled else self._length(length)
        if load:
            self.load()

    @property
    def available(self) -> bool:
        """Whether captions can be encoded at all."""
        return self.encoder is not None or self.source.class_of("text_encoder") is not None

    def forward(self, captions: Sequence[str]) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n"]]:
        """Encode captions; the mask is True where a position belongs to the caption and is no padding."""
        encoder = self.load()
        device = next(encoder.parameters()).device
        batch = self.tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self._positions(), return_tensors="pt"
        ).to(device)
        mask = batch["attention_mask"].bool()
        if self.pooled:
            vector = encoder(batch["input_ids"], attention_mask=batch["attention_mask"]).text_embeds
            return normalize(vector, dim=-1)[:, None], mask.new_ones(len(captions), 1)
        return encoder(batch["input_ids"])[0], mask  # no mask, as in diffusers: the encoder is causal

    def condition(self, captions: Sequence[str]) -> Condition:
        """Captions as the decoder's condition; masks of real positions."""
        values, mask = self(captions)
        return Condition({NAME: values}, {NAME: mask})

    def null_condition(self) -> Condition:
        """The empty caption as the decoder's condition, batch 1."""
        null = self.null()
        return Condition({NAME: null}, {NAME: torch.ones(null.shape[:2], dtype=torch.bool, device=null.device)})

    def null(self) -> Float[Tensor, "1 n d"]:
        """The encoding of the empty caption: fresh while the encoder is in memory (it may be learning), else cached."""
        if self.encoder is not None:
            null: Tensor = self([""])[0]
            return null
        if self.cached is None and self.available:
            self.load()
            self.release()
        if self.cached is None:
            self.cached = torch.zeros(1, self.length, self.dim, dtype=self.source.dtype)
        return self.cached

    @torch.inference_mode(False)
    def load(self) -> Any:
        """Bring tokenizer and encoder into memory."""
        if self.encoder is None:
            name = self.source.class_of("text_encoder")
            if name is None:
                raise ValueError("the decoder has no text encoder: give `text` and `tokenizer`, or train by `denoise`")
            cls, path = getattr(transformers, name), self.source.path
            self.tokenizer = AutoTokenizer.from_pretrained(path, subfolder="tokenizer")
            if is_meta():
                self.encoder = cls(cls.config_class.from_pretrained(path, subfolder="text_encoder"))
            else:
                with quiet():
                    self.encoder = cls.from_pretrained(path, subfolder="text_encoder", dtype=self.source.dtype)
                self.encoder.to(self.cached.device if self.cached is not None else torch.get_default_device())
            self.encoder.eval().requires_grad_(False)
        return self.encoder

    def words(self) -> str:
        """The tokenizer written out, once it is in memory."""
        fast = isinstance(self.tokenizer, PreTrainedTokenizerFast)
        known = self.tokenizer.backend_tokenizer.to_str() if fast else json.dumps(self.tokenizer.get_vocab())
        return f"{self.tokenizer.model_max_length} {known}"

    @torch.inference_mode(False)
    @torch.no_grad()
    def release(self) -> None:
        """Keep the null condition and drop the encoder from memory, where it can be loaded again."""
        if self.encoder is not None and self.source.class_of("text_encoder") is not None:
            self.cached = self.null()
            self.encoder = None

    def save(self, folder: Path, dtype: torch.dtype | None) -> dict[str, list[str | None]]:
        """Write text_encoder/ and tokenizer/ and say what they are, for model_index.json."""
        if not self.available:
            return {"text_encoder": [None, None], "tokenizer": [None, None]}
        held = self.encoder is not None
        copy: Any = portable(self.load(), dtype)
        with quiet():
            copy.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        tokenizer = self.source.class_of("tokenizer") or "PreTrainedTokenizerFast"
        if not held:
            self.release()
        return {"text_encoder": ["transformers", type(copy).__name__], "tokenizer": ["transformers", tokenizer]}

    def _build(self, given: Mapping[str, Any], positions: int) -> Any:
        tokenizer = self.tokenizer
        ids = {f"{k}_token_id": getattr(tokenizer, f"{k}_token_id") for k in ("bos", "eos", "pad")}
        cls = transformers.ClapTextModelWithProjection if self.pooled else transformers.CLIPTextModel
        width = "projection_dim" if self.pooled else "hidden_size"
        extra = ids["pad_token_id"] + 1 if self.pooled else 0  # RoBERTa counts positions from there
        own = {"vocab_size": len(tokenizer), "max_position_embeddings": positions + extra, width: self.dim}
        config = cls.config_class(**{**own, **ids, **given})
        if getattr(config, width) != self.dim:
            raise ValueError(f"text: {width} is {getattr(config, width)}, but the unet reads conditions of {self.dim}")
        return cls(config).to(self.source.dtype).eval()

    def _length(self, given: int | None) -> int:
        if self.cached is not None:
            return int(self.cached.shape[1])
        if self.tokenizer is not None:
            return int(self.tokenizer.model_max_length)
        if self.source.class_of("text_encoder") is not None:
            config = transformers.CLIPTextConfig.from_pretrained(self.source.path, subfolder="text_encoder")
            return int(config.max_position_embeddings)
        if given is None:
            raise ValueError("length: the decoder has no text encoder, so say how many positions its condition has")
        return given

    def _positions(self) -> int:
        encoder = self.encoder
        limit = encoder.config.max_position_embeddings - (encoder.config.pad_token_id + 1 if self.pooled else 0)
        return min(int(self.tokenizer.model_max_length), int(limit))
