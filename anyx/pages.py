"""A conversation being written: words and media in, ids and labels out.

`Words` turns text into ids: the template's special tokens are read, what merely looks like one among the words of a
conversation is not. A `Page` tokenises together what one voice says between media and signal groups or, as LLaVA and
NExT-GPT v2 do, what all voices say there.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from anyx.splice import IGNORE, PLACEHOLDER
from anyx.templates import Joined


class Slot(NamedTuple):
    """A medium in a conversation: its key, the position of its placeholder or of its group's first id, its part."""

    key: str
    position: int
    part: Mapping[str, Any]


class Encoded(NamedTuple):
    """A conversation as ids; `labels` are the ids where the assistant speaks, else IGNORE."""

    ids: list[int]
    labels: list[int]
    media: list[Slot]
    groups: list[Slot]


class Words:
    """Text -> ids. `written` is everything the template itself writes: its special tokens are nobody else's.

    `added` are ids of strings that the tokenizer does not know as tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, written: Collection[str], added: Mapping[str, int]) -> None:
        self.tokenizer = tokenizer
        known = {str(token): index for token, index in tokenizer.get_added_vocab().items()}
        self._own = frozenset(known.values())
        self._added = known | dict(added)
        self._marks = _any_of(self._added)
        self._spelt = {index: token for token, index in self._added.items()}
        self.bos = self._added.get(str(tokenizer.bos_token))
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._forbidden = _any_of(special | {mark for text in written for mark in self._marks.findall(text)})

    def follows(self, piece: int, ids: Sequence[int]) -> bool:
        """Whether the tokenizer itself knows a special token after `ids`, and so may write what comes next otherwise.

        A {bos} that begins a text, of the whole page or after a medium, is not in the text to the tokenizer.
        """
        return piece in self._own and (piece != self.bos or bool(ids and ids[-1] != PLACEHOLDER))

    def pieces(self, text: str) -> list[str | int]:
        """A string of the template as plain text and ids of special tokens."""
        for mark, token in (("{bos}", self.tokenizer.bos_token), ("{eos}", self.tokenizer.eos_token)):
            if mark in text:
                if token is None:
                    raise ValueError(f"the template writes {mark}, which this tokenizer does not have")
                text = text.replace(mark, str(token))
        pieces: list[str | int] = []
        start = 0
        for match in self._marks.finditer(text):
            pieces += [text[start : match.start()], self._added[match.group()]]
            start = match.end()
        return [piece for piece in (*pieces, text[start:]) if piece != ""]

    def ids(self, text: str) -> list[int]:
        """Ids of plain words: what looks like a special token is cut after its first letter."""
        ids: list[int] = []
        for start, end in self._cuts(text):
            ids += self.tokenizer(text[start:end], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def spans(self, text: str, token: int | None) -> tuple[list[int], list[int]]:
        """Ids of plain words and the letters at which each ends.

        A special `token` before them may show in the first of them, if both are one text to the tokenizer.
        """
        if token is None or self._forbidden.search(text):
            ids: list[int] = []
            ends: list[int] = []
            for start, end in self._cuts(text):
                found = self._placed(text[start:end], split=True)
                ids += [index for index, _ in found]
                ends += [start + place for _, place in found]
            return ids, ends
        before = self._spelt[token]
        found = self._placed(before + text, split=False)
        assert found[0][0] == token, f"{before + text!r} does not begin with the token {token}"
        return [index for index, _ in found[1:]], [place - len(before) for _, place in found[1:]]

    def _cuts(self, text: str) -> list[tuple[int, int]]:
        """Where the pieces of plain words begin and end that are tokenised each by itself."""
        cuts = [0, *(match.start() + 1 for match in self._forbidden.finditer(text)), len(text)]
        return [(start, end) for start, end in pairwise(cuts) if start < end]

    def _placed(self, text: str, *, split: bool) -> list[tuple[int, int]]:
        """Ids of a text, each with the letter at which it ends."""
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"{type(self.tokenizer).__name__} does not tell where its tokens stand in a text, which templates with "
                "`joined` need; give a fast tokenizer (a tokenizer.json)"
            )
        made = self.tokenizer(text, add_special_tokens=False, split_special_tokens=split, return_offsets_mapping=True)
        return [(index, end) for index, (_, end) in zip(made["input_ids"], made["offset_mapping"], strict=True)]


class Page:
    """A sheet to write on. Words of one voice that meet are tokenised together; those of all voices if `joined`.

    `tight` writes no spaces beside groups and special tokens.
    """

    def __init__(
        self, words: Words, groups: Mapping[str, tuple[int, ...]], *, tight: bool = False, joined: Joined | None = None
    ) -> None:
        self._words = words
        self._groups = groups
        self._tight = tight
        self._joined = joined
        self._encoded = Encoded([], [], [], [])
        self._text = ""
        self._voices = [(0, False)]  # from which letter of the text on somebody speaks, and whether it is supervised
        self._beside = False  # the text begins right after what no space may stand beside
        self._after: int | None = None  # the special token that the text begins after, if both are one to the tokenizer

    def write(self, text: str, *, supervised: bool, template: bool = False) -> None:
        """Words of a voice; those of the `template` may hold special tokens."""
        self._voice(supervised)
        for piece in self._words.pieces(text) if template else [text]:
            if isinstance(piece, str):
                self._text += piece.lstrip() if self._beside and not self._text else piece
            else:
                self._trim()
                self.apart()
                follows = self._joined is not None and self._words.follows(piece, self._encoded.ids)
                self._append([piece])
                self._beside = self._tight
                self._after = piece if follows else None

    def apart(self) -> None:
        """What comes next is tokenised by itself."""
        if self._text:
            if self._joined is None:
                ids = self._words.ids(self._text)
                labels = ids if self._supervised else [IGNORE] * len(ids)
            else:
                ids, ends = self._words.spans(self._text, self._after)
                labels = list(ids)
                for (letter, speaks), (end, _) in pairwise([*self._voices, (len(self._text), False)]):
                    if not speaks:
                        here = slice(self._before(letter, ends), self._before(end, ends))
                        labels[here] = [IGNORE] * len(labels[here])
            self._encoded.ids.extend(ids)
            self._encoded.labels.extend(labels)
        self._text, self._voices = "", [(0, self._supervised)]
        self._beside, self._after = False, None

    def medium(self, part: Mapping[str, Any]) -> None:
        """A medium that a user sends."""
        self.apart()
        self._encoded.media.append(Slot(part["type"], len(self._encoded.ids), part))
        self._encoded.ids.append(PLACEHOLDER)
        self._encoded.labels.append(IGNORE)
        if self._joined and part["type"] in self._joined.bos_after:
            self.write("{bos}", supervised=False, template=True)

    def group(self, key: str, part: Mapping[str, Any]) -> None:
        """A medium that the assistant shows."""
        if self._supervised:
            self._trim()
        self._voice(True)
        self.apart()
        self._encoded.groups.append(Slot(key, len(self._encoded.ids), part))
        self._append(list(self._groups[key]))
        self._beside = self._tight

    def close(self) -> Encoded:
        """The whole conversation."""
        self.apart()
        return self._encoded

    @property
    def media(self) -> int:
        """How many media were written so far."""
        return len(self._encoded.media)

    @property
    def _supervised(self) -> bool:
        return self._voices[-1][1]

    def _trim(self) -> None:
        if self._tight:
            self._text = self._text.rstrip()

    def _voice(self, supervised: bool) -> None:
        if supervised != self._supervised:
            if self._joined is None:
                self.apart()
                self._voices = []
            self._voices.append((len(self._text), supervised))

    def _before(self, letter: int, ends: Sequence[int]) -> int:
        """How many tokens, which end where `ends` says, stand before a letter: a space there is the next word's."""
        if letter in (0, len(self._text)) or (self._joined and self._joined.labels == "turns"):
            return len(ends) if letter else 0
        return bisect_right(ends, letter - self._text[:letter].endswith(" "))

    def _append(self, ids: list[int]) -> None:
        self._encoded.ids.extend(ids)
        self._encoded.labels.extend(ids if self._supervised else [IGNORE] * len(ids))


def _any_of(tokens: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")
