"""Texts and file names of strangers, and conversations that are made of what they send.

File names are shown and never opened; media come into a conversation as values and never as paths.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from anyx.media import MEDIA, Kind
from anyx.processor import LOCATIONS
from anyx.prompt import Message, parts_of
from anyx.serving.refusing import Refused

LETTERS = 100_000  # of a text
SHOWN = 80  # letters of a file's name
HIDDEN = ("Cc", "Cs", "Co", "Cn")  # control, surrogates, private, unassigned
TURNS = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
)  # they make a text read as another


def clean_text(text: object, most: int = LETTERS) -> str:
    """A text without control characters but tabs and line breaks; what stands for no letter becomes U+FFFD."""
    if not isinstance(text, str):
        raise Refused(f"a text is a string, but {type(text).__name__} was given")
    if len(text) > most:
        raise Refused(f"{len(text):,} letters are more than the {most:,} that a text may have", 413)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(_seen(letter) for letter in text)


def clean_name(name: object) -> str:
    """The last part of a file's name as HTML may show it; nothing is ever opened by it."""
    last = re.split(r"[/\\]", name if isinstance(name, str) else "")[-1]
    shown = "".join(letter for letter in last if letter not in TURNS and unicodedata.category(letter) not in HIDDEN)
    shown = shown.strip(" .")
    if len(shown) > SHOWN:
        shown = f"{shown[: SHOWN - 12]}...{shown[-9:]}"
    return html.escape(shown) or "file"


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


def _seen(letter: str) -> str:
    if letter in "\n\t":
        return letter
    category = unicodedata.category(letter)
    return "" if category == "Cc" else "\ufffd" if category == "Cs" else letter
