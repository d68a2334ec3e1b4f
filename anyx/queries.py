"""Q-Former as an input projector: learned queries read an encoder's tokens into as many LLM tokens (arXiv 2301.12597).

BLIP-2 has 32 queries of width 768, 12 layers, a linear map to the LLM; InstructBLIP's read the instruction; VideoChat
adds queries that begin at zero. Names are the published ones but for `qformer`, `norm` (`ln_vision`) and `proj`.

Letters: b media items, n encoder tokens, k pieces of an item, q queries of a piece, t words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from anyx.interfaces import InputProjector, TextBatch, Tokens
from anyx.qformer import DEVIATION, QFormer

VOCABULARY = 30523  # bert-base-uncased's and "[DEC]", with which BLIP-2's queries learnt to write


class BertWords:
    """An instruction -> its ids in BERT's vocabulary, between [CLS] and [SEP]; the first `length` of them."""

    def __init__(self, path: str, length: int) -> None:
        from transformers import AutoTokenizer

        self.length = length
        self.tokenizer = AutoTokenizer.from_pretrained(path)

    def __call__(self, text: str) -> list[int]:
        """Encode one instruction."""
        return list(self.tokenizer(text, truncation=True, max_length=self.length)["input_ids"])


class QFormerInputProjector(InputProjector):
    """`queries` learned queries read all real tokens of an item, or each of its `pieces` (frames) by itself.

    `width`, `layers`, `heads`, `cross_every`, `hidden`, `dropout` are the `QFormer`'s. `norm` normalises the encoder's
    tokens first, as BLIP-2's own LayerNorm does where the encoder does not. `extra` more queries begin at zero.

    With `tokenizer`, a folder or hub id of BERT's, the queries read the instruction too, `length` words of what is said
    in the turn of the medium; `reads` makes room for that without one, for callers that bring ids. `bert` names a BERT
    to begin with (`QFormer.start_from`).
    """

    parts: ClassVar[Sequence[str]] = ("norm", "query_tokens", "extra_query_tokens", "qformer", "proj")

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        queries: int = 32,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        cross_every: int = 2,
        hidden: int | None = None,
        dropout: float = 0.1,
        norm: bool = False,
        extra: int = 0,
        pieces: int = 1,
        tokenizer: str | None = None,
        reads: bool = False,
        vocabulary: int | None = VOCABULARY,
        positions: int = 512,
        length: int = 128,
        bert: str | None = None,
    ):
        super().__init__()
        if min(queries, pieces) < 1 or extra < 0:
            given = f"{queries}, {pieces} and {extra}"
            raise ValueError(f"queries and pieces are at least 1 and extra is not negative: given {given}")
        if vocabulary is None and (reads or tokenizer is not None):
            raise ValueError("vocabulary: null given, but to read the instruction its number of words is needed")
        self.pieces = pieces
        self.norm = nn.LayerNorm(dim_in) if norm else nn.Identity()
        self.query_tokens = nn.Parameter(torch.randn(1, queries, width) * DEVIATION)
        self.extra_query_tokens = nn.Parameter(torch.zeros(1, extra, width)) if extra else None
        self.qformer = QFormer(
            width,
            dim_in,
            layers=layers,
            heads=heads,
            cross_every=cross_every,
            hidden=hidden,
            dropout=dropout,
            vocabulary=vocabulary if reads or tokenizer is not None else None,
            positions=positions,
        )
        self.proj = nn.Linear(width, dim_out)
        if bert is not None:
            self.qformer.start_from(bert)
        if tokenizer is not None and not self.proj.weight.is_meta:
            self.words = BertWords(tokenizer, length)

    def forward(self, x: Tokens, text: TextBatch | None = None) -> Tokens:
        """Read (b, n, dim_in), and the instruction, into (b, k q, dim_out)."""
        items, tokens = x.mask.shape
        lacking = max(0, self.pieces - tokens)  # of fewer tokens than pieces each is one, and the rest are missing
        if (tokens + lacking) % self.pieces:
            raise ValueError(f"pieces: {self.pieces} given, but an item of {tokens} tokens is no multiple of that")
        values, mask = F.pad(self.norm(x.values), (0, 0, 0, lacking)), F.pad(x.mask, (0, lacking))
        if self.pieces > 1:
            values = values.reshape(items * self.pieces, -1, values.shape[-1])
            mask = mask.reshape(items * self.pieces, -1)
        words: Sequence[Tensor | None] = (None, None)
        if text is not None:
            words = [part.repeat_interleave(self.pieces, dim=0) for part in text]
        more = [] if self.extra_query_tokens is None else [self.extra_query_tokens]
        queries = torch.cat([self.query_tokens, *more], dim=1).expand(len(values), -1, -1)
        seen = mask | ~mask.any(1, keepdim=True)  # an empty piece reads its padding, and is marked as such below
        states = self.proj(self.qformer(queries, values, seen, words=words[0], real=words[1]))
        real = mask.any(1, keepdim=True).expand(-1, queries.shape[1])
        states = states.reshape(items, -1, states.shape[-1])
        return Tokens(states, real.reshape(items, -1), whole=x.whole and not lacking)
