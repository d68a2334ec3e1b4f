"""`Seer` answers for a model: it sees which colours the pictures have, and says what a function of both says."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from anyx.evaluation.corpus import Message
from anyx.reply import Reply

COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250)}
Say = Callable[[str, list[str]], str]


class Seer:
    def __init__(self, say: Say) -> None:
        self.say = say
        self.texts: list[str] = []
        self.batches: list[int] = []

    def generate(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int, seeds: Sequence[int]
    ) -> list[Reply]:
        self.batches.append(len(conversations))
        return [self.reply(turns[-1]["content"]) for turns in conversations]

    def reply(self, content: list[dict[str, Any]]) -> Reply:
        seen = [part["media"].pixels.float().mean((1, 2)) for part in content if part["type"] == "image"]
        words = "".join(part["text"] if part["type"] == "text" else "(picture)" for part in content)
        self.texts.append(words)
        return Reply([self.say(words, [list(COLOURS)[int(mean.argmax())] for mean in seen])])


def colour(text: str, seen: list[str]) -> str:
    return seen[0]


def yes_no(text: str, seen: list[str]) -> str:
    asked = next(name for name in COLOURS if name in text)
    return "yes" if asked == seen[0] else "no"


def letter(text: str, seen: list[str]) -> str:
    """The letter of the option that names the first picture's colour; of one without a picture, A."""
    found = re.search(rf"([A-D])\. {seen[0]}", text) if seen else None
    return found[1] if found else "3" if "How many" in text else "A"


def boxed(text: str, seen: list[str]) -> str:
    return "[0.25, 0.25, 0.75, 0.75]"


def caption(text: str, seen: list[str]) -> str:
    return f"a {seen[0]} square"
