"""Conversations -> ids: which are supervised, where media stand, where signal groups begin.

A message is Hugging Face's chat form: `{"role": "user", "content": "text"}` or a list of parts,
`{"type": "text", "text": ...}` and `{"type": "<key>", "path": ...}`. A medium that a user sends becomes one
`PLACEHOLDER`; a medium in an assistant's turn becomes the whole id group of that output. Groups are tuples of ids from
first to last, never strings: their ids lie past the tokenizer's, so that no text can spell them.

The words of a conversation are tokenised apart from the template's special tokens, with the parsing of special tokens
switched off: "<|im_end|>" typed by a user ends nothing. How words become ids is in `pages.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from anyx.pages import Encoded, Page, Slot, Words
from anyx.splice import IGNORE, PLACEHOLDER
from anyx.templates import Template, Turn

__all__ = ["IGNORE", "PLACEHOLDER", "Encoded", "Message", "Prompt", "SignalGroups", "Slot"]

Message = Mapping[str, Any]
SignalGroups = Mapping[str, tuple[int, ...]]  # output key -> the ids of its signal tokens, in order


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
        self._added = dict(added_tokens or {})
        self._words = Words(tokenizer, self.template.strings(), self._added)

    def by(self, template: str | Mapping[str, Any] | Template) -> Prompt:
        """The same model's conversations laid out by another template."""
        return Prompt(self.tokenizer, template, self.inputs, self.groups, self._added)

    @property
    def stop(self) -> tuple[list[int], str]:
        """What ends a reply: the first special token of the template's end, and the text before it ("" if none)."""
        pieces = self._words.pieces((self.template.last or self.template.assistant).end)
        ids = [piece for piece in pieces if isinstance(piece, int)][:1]
        text = pieces[0] if pieces and isinstance(pieces[0], str) else ""
        # What follows the token is never waited for; a line break before it is said in the middle of replies too.
        return ids, text if text.strip() or not ids else ""

    def encode(self, messages: Sequence[Message], *, generate: bool = False) -> Encoded:
        """Encode a conversation; with `generate` it ends where the assistant is about to speak."""
        if not messages:
            raise ValueError("a conversation has at least one message; received none")
        if self.template.system_default and messages[0].get("role") != "system":
            messages = [{"role": "system", "content": self.template.system_default}, *messages]
        page = self._page()
        page.write(self.template.begin, supervised=False, template=True)
        opening = next((i for i, message in enumerate(messages) if message.get("role") == "user"), None)
        if self.template.front == "page":
            for message in messages:
                self._media(page, message)
        for i, message in enumerate(messages):
            self._turn(page, message, first=i == opening, last=i == len(messages) - 1)
        if generate:
            if messages[-1]["role"] == "assistant":
                raise ValueError("the last message is the assistant's; a reply needs a user's message to answer")
            prefix = (self.template.last or self.template.assistant).prefix
            if self.template.joined:  # in one text, the space before a reply belongs to its first word
                prefix = prefix.rstrip(" ")
            page.write(prefix, supervised=False, template=True)
        elif self.template.joined:
            page.write(self.template.joined.close, supervised=False, template=True)
        encoded = page.close()
        if generate and not encoded.ids:
            raise ValueError("the conversation is empty, and its template writes nothing of its own: say something")
        if self.template.joined and self.template.joined.labels == "turns":
            return encoded._replace(labels=self._labels_by_turns(encoded.ids, messages))
        return encoded

    def cut(self, encoded: Encoded, length: int, *, whole: bool = True) -> Encoded:
        """The first `length` ids, a medium counting as one. A group that does not fit is left out with all after it.

        Without `whole` (NExT-GPT v1) it is broken: what is left of it is supervised as words are, and is no target.
        """
        kept = [slot for slot in encoded.groups if slot.position + len(self.groups[slot.key]) <= length]
        if whole and len(kept) < len(encoded.groups):
            length = min(length, encoded.groups[len(kept)].position)
        media = [slot for slot in encoded.media if slot.position < length]
        return Encoded(encoded.ids[:length], encoded.labels[:length], media, kept)

    def _page(self) -> Page:
        return Page(self._words, self.groups, tight=self.template.tight, joined=self.template.joined)

    def _turn(self, page: Page, message: Message, *, first: bool = False, last: bool = False) -> None:
        role = message.get("role")
        turns = {"user": self.template.user, "assistant": self.template.assistant, "system": self.template.system}
        if role not in turns:
            raise ValueError(f"role: {role!r} is not one of {', '.join(turns)}")
        turn: Turn = self.template.first if first and self.template.first else turns[role]
        speaks = role == "assistant"
        if speaks and last and self.template.last:
            turn = self.template.last
        parts = parts_of(message)
        if self.template.front and not speaks:
            if self.template.front == "turn":
                self._media(page, message)
            parts = [part for part in parts if part["type"] == "text"]
        page.write(turn.prefix, supervised=False, template=True)
        if turn.apart and parts and parts[0]["type"] == "text":
            page.apart()
        for part in parts:
            if part["type"] == "text":
                page.write(part["text"], supervised=speaks)
            elif speaks:
                page.group(self._known(part, self.groups, "outputs"), part)
            else:
                self._medium(page, part)
        page.write(turn.end, supervised=speaks, template=True)
        page.write(turn.tail, supervised=False, template=True)

    def _media(self, page: Page, message: Message) -> None:
        """The media of a message alone, unless the assistant shows them."""
        for part in parts_of(message) if message.get("role") != "assistant" else ():
            if part["type"] != "text":
                self._medium(page, part)

    def _medium(self, page: Page, part: Mapping[str, Any]) -> None:
        self._known(part, self.inputs, "inputs")
        start, end = self.template.around(part["type"], page.media + 1)
        page.write(start, supervised=False, template=True)
        page.medium(part)
        page.write(end, supervised=False, template=True)

    def _labels_by_turns(self, ids: Sequence[int], messages: Sequence[Message]) -> list[int]:
        """`Joined.labels: turns`: every turn counted by itself, with a {bos} of its own."""
        labels, start = list(ids), 0
        for message in messages:
            page = self._page()
            page.write("{bos}", supervised=False, template=True)
            self._turn(page, message)
            end = start + len(page.close().ids)
            if message["role"] != "assistant":
                here = slice(start + 2 * (message["role"] == "user"), end)
                labels[here] = [IGNORE] * len(labels[here])
            start = end
        return [IGNORE if token == PLACEHOLDER else label for token, label in zip(ids, labels, strict=True)]

    def _known(self, part: Mapping[str, Any], keys: Collection[str], port: str) -> str:
        if part["type"] not in keys:
            known = ", ".join(("text", *keys))
            raise ValueError(f"type: {part['type']!r} is not one of {known} (the model's {port})")
        return str(part["type"])


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
