"""Ids past a vocabulary: tokens that a template writes and the tokenizer does not know, then the signal groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
