"""Ids past a vocabulary: tokens that a template writes and the tokenizer does not know, then the signal groups.

Letters: v vocabulary, k ids past it, d width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase


def add(tokens: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, start: int) -> dict[str, int]:
    """Ids for added tokens, from `start`."""
    known = tokenizer.get_added_vocab()
    if wrong := [token for token in tokens if not token or token in known or list(tokens).count(token) > 1]:
        raise ValueError(f"llm.added_tokens: {wrong[0]!r} is empty, named twice, or a token of the tokenizer already")
    return {token: start + place for place, token in enumerate(tokens)}


def number(tokens: Mapping[str, int], *, start: int) -> dict[str, tuple[int, ...]]:
    """Ids for the signal tokens of every output, one group after the other from `start`."""
    groups = {}
    for key, count in tokens.items():
        if count < 1:
            raise ValueError(f"outputs.{key}.tokens: {count} given; a signal group has at least 1 token")
        groups[key] = tuple(range(start, start + count))
        start += count
    return groups


class SignalTokens(nn.Module):
    """The signal tokens' rows: what they are when read (`embedding`) and when said (`head`; None if tied)."""

    def __init__(self, embedding: Float[Tensor, "v d"], head: Float[Tensor, "v d"], count: int, *, tied: bool) -> None:
        super().__init__()
        self.embedding = nn.Parameter(_like(embedding, count))
        self.head = None if tied else nn.Parameter(_like(head, count))

    @property
    def said(self) -> Float[Tensor, "k d"]:
        """The rows of the head."""
        return self.embedding if self.head is None else self.head


def _like(table: Float[Tensor, "v d"], count: int) -> Float[Tensor, "k d"]:
    """New rows drawn like the table's own: its mean and deviation in every dimension, seen on some 4096 rows."""
    seen = table.detach()[:: max(1, len(table) // 4096)].float()
    return seen.mean(0) + seen.std(0) * torch.randn(count, table.shape[1], device=table.device)
