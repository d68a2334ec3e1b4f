"""Ids that come one after the other, as letters: each letter is handed out once nothing can change it any more."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase


class Run:
    """The words of ids that are heard one after the other.

    Letters that no later id can change are decoded once: with what comes next only the ids of the last of them are
    decoded again, since what tokenizers write of an id depends on whether something stands before it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []  # of the last settled letters, then of all unsettled ones
        self._seen = 0  # how many of them are of settled letters
        self._before = ""  # those letters
        self._settled = ""

    def hear(self, token: int) -> str:
        """One more id: all letters so far; half a letter at the end is U+FFFD."""
        self._ids.append(token)
        after = self._decode(self._ids)
        text = self._settled + after[len(self._before) :]
        if len(text) > len(self._settled) and not text.endswith("\ufffd"):
            self._settled = text
            fresh = self._decode(self._ids[self._seen :])
            if fresh:
                self._ids, after = self._ids[self._seen :], fresh
            self._seen, self._before = len(self._ids), after
        return text

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))
