"""A conversation being written: words and media in, ids and labels out.

`Words` turns text into ids: the template's special tokens are read, what merely looks like one among the words of a
conversation is not. A `Page` tokenises together what one voice says between media and signal groups or, as LLaVA and
NExT-GPT v2 do, what all voices say there.
"""

from __future__ import annotations

import re
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
        cuts = [0, *(match.start() + 1 for match in self._forbidden.finditer(text)), len(text)]
        words = [text[a:b] for a, b in pairwise(cuts) if a < b]
        ids: list[int] = []
        for word in words:
            ids += self.tokenizer(word, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids

    def ids_after(self, text: str, token: int | None) -> list[int]:
        """Ids of plain words in one text with a special token before them, which may show in the first of them."""
        if token is None or self._forbidden.search(text):
            return self.ids(text)
        whole = self._spelt[token] + text
        ids: list[int] = self.tokenizer(whole, add_special_tokens=False, split_special_tokens=False)["input_ids"]
        assert ids[0] == token, f"{whole!r} does not begin with the token {token}"
        return ids[1:]


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
            ids = self._words.ids_after(self._text, self._after)
            labels = list(ids)
            for (letter, speaks), (end, _) in pairwise([*self._voices, (len(self._text), False)]):
                if not speaks:
                    here = slice(self._length(letter, len(ids)), self._length(end, len(ids)))
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

    def _length(self, letter: int, whole: int) -> int:
        """How many of the `whole` ids stand before a letter; a space there belongs to the word that follows."""
        if letter in (0, len(self._text)) or (self._joined and self._joined.labels == "turns"):
            return whole if letter else 0
        before = self._text[:letter]
        alone = 0 if self._after is None else len(self._words.ids(self._text)) - whole  # what the token before it saves
        return len(self._words.ids(before)) - before.endswith(" ") - alone

    def _append(self, ids: list[int]) -> None:
        self._encoded.ids.extend(ids)
        self._encoded.labels.extend(ids if self._supervised else [IGNORE] * len(ids))


def _any_of(tokens: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")
