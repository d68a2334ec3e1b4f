"""Tokens that a published system added to its LLM's vocabulary: which row of its tables is which of ours.

There every token has a row at the end of one table, in the order they were added. Here the rows of the base vocabulary
are one table, and those past it another, `llm.signal_tokens`: first the added tokens, then one group an output. Rows
are moved, never computed, so that the way back gives every bit again.

Letters: v rows of a whole table, k added rows, d width.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor


class Vocabulary:
    """The added tokens of a system by their order there; `groups` names the signal tokens of each output.

    `groups` maps an output to the string of its tokens, as in {"image": "[IMG{}]"}, numbered from 0 without a gap.
    """

    def __init__(self, tokens: Sequence[str], groups: Mapping[str, str]) -> None:
        self.tokens = tuple(tokens)
        self.groups: dict[str, tuple[str, ...]] = {}
        for key, pattern in groups.items():
            wanted = [pattern.format(number) for number in range(len(self.tokens))]
            self.groups[key] = tuple(token for token in wanted if token in self.tokens)
            if not self.groups[key] or self.groups[key][-1] != wanted[len(self.groups[key]) - 1]:
                raise ValueError(f"added tokens: {pattern.format(0)} and the following are not all among them")
        signals = {token for group in self.groups.values() for token in group}
        self.added = tuple(token for token in self.tokens if token not in signals)
        ours = (*self.added, *(token for group in self.groups.values() for token in group))
        self._order = torch.tensor([self.tokens.index(token) for token in ours])

    def split(self, table: Float[Tensor, "v d"]) -> tuple[Tensor, Float[Tensor, "k d"]]:
        """A whole table -> the base vocabulary's rows, and ours."""
        base = self.base(len(table))
        return table[:base], table[base:][self._order]

    def join(self, base: Tensor, rows: Float[Tensor, "k d"]) -> Float[Tensor, "v d"]:
        """The way back of `split`; where the two are of different types, in the wider."""
        kind = torch.promote_types(base.dtype, rows.dtype)
        if len(rows) != len(self._order):
            told = f"{len(self._order)} are wanted: {', '.join((*self.added, *self.groups))}"
            raise ValueError(f"llm.signal_tokens: {len(rows)} rows past the vocabulary, but {told}")
        theirs = torch.empty_like(rows)
        theirs[self._order] = rows
        return torch.cat([base.to(kind), theirs.to(kind)])

    def base(self, rows: int) -> int:
        """How many of so many rows are the base vocabulary's."""
        if rows <= len(self.tokens):
            raise ValueError(f"tables of {rows} rows have no room for {len(self.tokens)} added tokens")
        return rows - len(self.tokens)

    def ids(self, rows: int) -> dict[str, list[int]]:
        """The ids of every group in the published file, whose tables have so many rows."""
        base = self.base(rows)
        return {key: [base + self.tokens.index(token) for token in group] for key, group in self.groups.items()}


def read_added_tokens(file: str | Path) -> list[str]:
    """The tokens of an `added_tokens.json` by their ids: the last that lie without a gap, past the base vocabulary."""
    try:
        found = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"added_tokens: {file} cannot be read: {error}") from error
    if not isinstance(found, dict) or not found or not all(type(index) is int for index in found.values()):
        raise ValueError(f"added_tokens: {file} should map tokens to ids")
    names = {index: token for token, index in found.items()}
    if len(names) < len(found):
        raise ValueError(f"added_tokens: {file} gives one id to several tokens")
    last = first = max(names)
    while first - 1 in names:
        first -= 1
    return [names[index] for index in range(first, last + 1)]
