"""Conversations that are made of what strangers send: media come into them as values and never as paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyx.media import MEDIA, Kind
from anyx.processor import LOCATIONS
from anyx.prompt import Message, parts_of
from anyx.serving.refusing import Refused


def hold(messages: Sequence[Message], kinds: Sequence[Kind] = tuple(MEDIA.values())) -> None:
    """Refuse a conversation in which a part could open a file: media are values, of `kinds`, under "media".

    The library's own conversations may say {"type": "image", "path": ...}; those of strangers come through here.
    """
    if (
        isinstance(messages, str)
        or not isinstance(messages, Sequence)
        or not all(isinstance(message, Mapping) for message in messages)
    ):
        raise Refused("a conversation is a list of messages")
    for message in messages:
        try:
            parts = parts_of(message)
        except ValueError as error:
            raise Refused(str(error)) from error
        for part in parts:
            _hold(part, kinds)


def _hold(part: Mapping[str, Any], kinds: Sequence[Kind]) -> None:
    if part["type"] == "text":
        return
    given = [name for name in (*LOCATIONS, part["type"]) if part.get(name) is not None]
    if given and (given != ["media"] or not isinstance(part["media"], tuple(kinds))):
        raise Refused(
            f'a part of type {part["type"][:40]!r} brings its medium as a value under "media", not by {given}'
        )
