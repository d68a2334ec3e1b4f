"""How a model writes that it wants a tool, and how results are told to it: what `llava_plus` and `react` are.

What a model writes is never trusted: reading raises on no text, is bounded in size and depth, and says what is wrong so
that the model can be told.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from anyx.agents.interfaces import Call, Gallery, Result
from anyx.agents.specs import Spec
from anyx.grounding.boxes import shares

LONGEST = 16384  # characters of what is read as JSON
DEEPEST = 24  # brackets inside each other
SIGNS = re.compile(r"(?:[-+~]\s*){8}|(?:\bnot\s+){8}")  # towers of signs cost Python's parser its stack


class Said(NamedTuple):
    """A reply read: a thought, calls, the answer if there is one, and what could not be read of it."""

    thought: str = ""
    calls: tuple[Call, ...] = ()
    value: str | None = None
    problem: str | None = None


class Observed(NamedTuple):
    """A call that was run, its result, and the handles of media that the result brought."""

    call: Call
    result: Result
    handles: tuple[str, ...] = ()


class Form(Protocol):
    """One way to write. `stops` are strings after which a model says what only the tools may say."""

    name: str
    stops: Sequence[str]
    implied: bool  # whether a medium that is not named is the last one the user sent

    def system(self, specs: Sequence[Spec]) -> str:
        """What the model is told before everything; empty for one that was trained on these tools."""
        ...

    def read(self, text: str) -> Said:
        """What a reply says; nothing raises."""
        ...

    def told(self, question: str, observed: Sequence[Observed], gallery: Gallery) -> str:
        """The next user turn: what the tools said, or what was wrong."""
        ...

    def complained(self, question: str, problem: str) -> str:
        """The next user turn where a reply could not be read."""
        ...


def loads(text: str) -> Any:
    """JSON, or what Python would print of the same value; ValueError that says what is wrong."""
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters; {LONGEST} at most")
    if deepest(text) > DEEPEST or SIGNS.search(text):
        raise ValueError(f"it is nested deeper than {DEEPEST}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        wrong = str(error)
    try:
        return ast.literal_eval(re.sub(r"\b(true|false|null)\b(?=\s*[,}\]])", _python, text.strip()))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise ValueError(f"it is no JSON: {wrong}") from None


def deepest(text: str) -> int:
    """How many brackets stand inside each other at most; those in strings count too."""
    depth = most = 0
    for letter in text:
        depth += (letter in "[{(") - (letter in "]})")
        most = max(most, depth)
    return most


def _python(match: re.Match[str]) -> str:
    return {"true": "True", "false": "False", "null": "None"}[match[0]]


def plain(observed: Observed) -> dict[str, Any]:
    """A result as JSON: boxes as shares of the picture's sides to 2 decimals; media as handles, masks not at all."""
    result = observed.result
    made: dict[str, Any] = {"error": result.error} if result.error else {}
    if result.text and not result.boxes:
        made["text"] = result.text
    if result.boxes and result.size:
        size = result.size
        made["boxes"] = [[round(value, 2) for value in shares(one.box, size)] for one in result.boxes]
        made["logits"] = [round(one.score, 2) for one in result.boxes]
        made["phrases"] = [one.word for one in result.boxes]
    made |= {str(key): value for key, value in result.data.items()}
    return made | ({"media": list(observed.handles)} if observed.handles else {})


def shown(arguments: Mapping[str, Any]) -> str:
    """Arguments in a line."""
    return json.dumps(dict(arguments), ensure_ascii=False, default=str)
