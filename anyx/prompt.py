"""Conversations -> ids: which are supervised, where media stand, where signal groups begin.

A message is Hugging Face's chat form: `{"role": "user", "content": "text"}` or a list of parts,
`{"type": "text", "text": ...}` and `{"type": "<key>", "path": ...}`. A medium that a user sends becomes one
`PLACEHOLDER`; a medium in an assistant's turn becomes the whole id group of that output. Groups are tuples of ids from
first to last, never strings: their ids lie past the tokenizer's, so that no text can spell them.

The words of a conversation are tokenised apart from the template's special tokens, with the parsing of special tokens
switched off: "<|im_end|>" typed by a user ends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from anyx.splice import IGNORE, PLACEHOLDER
from anyx.templates import Template, Turn

__all__ = ["IGNORE", "PLACEHOLDER", "Encoded", "Message", "Prompt", "SignalGroups", "Slot"]

Message = Mapping[str, Any]
SignalGroups = Mapping[str, tuple[int, ...]]  # output key -> the ids of its signal tokens, in order


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


class Prompt:
    """Lays conversations out by a template: `inputs` are the keys a user may send, `groups` what may be answered.

    `added_tokens` are ids of strings that the template, and nothing else, writes as one token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str | Mapping[str, Any] | Template,
        inputs: Collection[str] = (),
        groups: SignalGroups | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.template = Template.of(template)
        self.inputs = tuple(inputs)
        self.groups = dict(groups or {})
        self._added = {str(token): index for token, index in tokenizer.get_added_vocab().items()}
        self._added |= added_tokens or {}
        self._marks = _any_of(self._added)
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        written = {mark for text in self.template.strings() for mark in self._marks.findall(text)}
        self._forbidden = _any_of(special | written)

    @property
    def stop(self) -> tuple[list[int], str]:
        """What ends a reply: the first special token of the template's end, and the text before it ("" if none)."""
        pieces = self._pieces(self.template.assistant.end)
        ids = [piece for piece in pieces if isinstance(piece, int)][:1]
        text = pieces[0] if pieces and isinstance(pieces[0], str) else ""
        # What follows the token is never waited for; a line break before it is said in the middle of replies too.
        return ids, text if text.strip() or not ids else ""

    def encode(self, messages: Sequence[Message], *, generate: bool = False) -> Encoded:
        """Encode a conversation; with `generate` it ends where the assistant is about to speak."""
        if not messages:
            raise ValueError("a conversation has at least one message; received none")
        page = _Page(self)
        page.write(self.template.begin, supervised=False, template=True)
        if self.template.system_default and messages[0].get("role") != "system":
            messages = [{"role": "system", "content": self.template.system_default}, *messages]
        for message in messages:
            self._turn(page, message)
        if generate:
            if messages[-1]["role"] == "assistant":
                raise ValueError("the last message is the assistant's; a reply needs a user's message to answer")
            page.write(self.template.assistant.prefix, supervised=False, template=True)
        encoded = page.close()
        if generate and not encoded.ids:
            raise ValueError("the conversation is empty, and its template writes nothing of its own: say something")
        return encoded

    def _turn(self, page: _Page, message: Message) -> None:
        role = message.get("role")
        turns = {"user": self.template.user, "assistant": self.template.assistant, "system": self.template.system}
        if role not in turns:
            raise ValueError(f"role: {role!r} is not one of {', '.join(turns)}")
        turn: Turn = turns[role]
        speaks = role == "assistant"
        page.write(turn.prefix, supervised=False, template=True)
        for part in parts_of(message):
            if part["type"] == "text":
                page.write(part["text"], supervised=speaks)
            elif speaks:
                page.group(self._known(part, self.groups, "outputs"), part)
            else:
                self._known(part, self.inputs, "inputs")
                page.write(self.template.media_start, supervised=False, template=True)
                page.medium(part)
                page.write(self.template.media_end, supervised=False, template=True)
        page.write(turn.end, supervised=speaks, template=True)
        page.write(turn.tail, supervised=False, template=True)

    def _known(self, part: Mapping[str, Any], keys: Collection[str], port: str) -> str:
        if part["type"] not in keys:
            known = ", ".join(("text", *keys))
            raise ValueError(f"type: {part['type']!r} is not one of {known} (the model's {port})")
        return str(part["type"])

    def _pieces(self, text: str) -> list[str | int]:
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

    def _tokenize(self, text: str) -> list[int]:
        """Ids of plain words: what looks like a special token is cut after its first letter."""
        cuts = [0, *(match.start() + 1 for match in self._forbidden.finditer(text)), len(text)]
        words = [text[a:b] for a, b in pairwise(cuts) if a < b]
        ids: list[int] = []
        for word in words:
            ids += self.tokenizer(word, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return ids


def _any_of(tokens: Collection[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or "(?!)")


class _Page:
    """A conversation being written; neighbouring words of one voice are tokenised together."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._encoded = Encoded([], [], [], [])
        self._words = ""
        self._supervised = False

    def write(self, text: str, *, supervised: bool, template: bool = False) -> None:
        if supervised != self._supervised:
            self._flush()
            self._supervised = supervised
        for piece in self._prompt._pieces(text) if template else [text]:
            if isinstance(piece, str):
                self._words += piece
            else:
                self._flush()
                self._append([piece])

    def medium(self, part: Mapping[str, Any]) -> None:
        self._flush()
        self._encoded.media.append(Slot(part["type"], len(self._encoded.ids), part))
        self._encoded.ids.append(PLACEHOLDER)
        self._encoded.labels.append(IGNORE)

    def group(self, key: str, part: Mapping[str, Any]) -> None:
        self._flush()
        self._supervised = True
        self._encoded.groups.append(Slot(key, len(self._encoded.ids), part))
        self._append(list(self._prompt.groups[key]))

    def close(self) -> Encoded:
        self._flush()
        return self._encoded

    def _flush(self) -> None:
        if self._words:
            self._append(self._prompt._tokenize(self._words))
            self._words = ""

    def _append(self, ids: list[int]) -> None:
        self._encoded.ids.extend(ids)
        self._encoded.labels.extend(ids if self._supervised else [IGNORE] * len(ids))


def parts_of(message: Message) -> list[Mapping[str, Any]]:
    """The parts of a message's content, a plain string being one text part."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, Sequence):
        raise ValueError(f"content: {type(content).__name__} given; it is a string or a list of parts")
    for part in content:
        if not isinstance(part, Mapping) or not isinstance(part.get("type"), str):
            raise ValueError(f'content: each part is a mapping with a "type"; received {part!r}')
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise ValueError(f'content: a text part has a string "text"; received {part!r}')
    return list(content)
