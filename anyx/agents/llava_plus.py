"""The form of LLaVA-Plus (Liu et al. 2023, arXiv:2311.05437): a reply of three fields, then one that sums up.

    "thoughts🤔" I find the dog first.
    "actions🚀" [{"API_name": "grounding_dino", "API_params": {"caption": "dog"}}]
    "value👉" Let me look for the dog.

The actions are run and the next user turn is published as `{API} model outputs: {JSON}` and a request to sum up; the
`value👉` of a reply without actions is the answer. A picture that is not named is the user's last one. As published one
call a turn is expected; of several each is run. Here a reply may again ask for tools until the loop's bounds are met.

Fields are found with or without quotes, emoji and colon; actions may be what Python prints, one without its list, or in
a code fence. A reply without any field is an answer. Media of results are told as handles, which is ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from anyx.agents.forms import Observed, Said, loads, plain
from anyx.agents.interfaces import Call, Gallery
from anyx.agents.specs import Spec
from anyx.data import llava_plus

QUOTES = "\"'*`\u201c\u201d\u2018\u2019"
QUOTE = f"[{QUOTES}]?"
FIELD = re.compile(
    rf"{QUOTE}(?P<name>thoughts|actions|value){QUOTE}(?P<emoji>🤔|🚀|👉)?{QUOTE}(?P<colon>\s*:)?\s*", re.IGNORECASE
)
FENCE = re.compile(r"^```\w*\s*|\s*```$")
MOST = 8  # calls of one reply that are read
SUMMARY = "Please summarize the model outputs and answer my first question: {question}"
TEACH = """\
You can use these tools:
{tools}

Write every reply in three fields:
"thoughts🤔" what you think
"actions🚀" [{{"API_name": "the tool", "API_params": {{"parameter": "value"}}}}]
"value👉" what you tell the user
Leave the list of actions empty when you need no tool. You are told what the tools say before you answer."""


class LlavaPlus:
    """The three fields. With `teach`, a model that was not trained on them is told of them and of the tools."""

    name = "llava_plus"
    stops: Sequence[str] = ()
    implied = True

    def __init__(self, *, teach: bool = False) -> None:
        self.teach = teach

    def system(self, specs: Sequence[Spec]) -> str:
        """Nothing, as published; with `teach` the tools and the fields."""
        listed = "\n".join(json.dumps(one.plain(), ensure_ascii=False) for one in specs)
        return TEACH.format(tools=listed or "none") if self.teach else ""

    def read(self, text: str) -> Said:
        """The fields of a reply; nothing raises."""
        fields = split(text)
        if not fields:
            return Said(value=text.strip())
        thought, value = fields.get("thoughts", ""), fields.get("value")
        try:
            calls = calls_of(fields.get("actions", ""))
        except ValueError as error:
            return Said(thought, (), value, f'the field "actions🚀" cannot be read: {error}')
        if not calls and value is None:
            return Said(thought, (), None, 'the reply has neither actions nor a field "value👉"')
        return Said(thought, calls, value)

    def told(self, question: str, observed: Sequence[Observed], gallery: Gallery) -> str:
        """What the models put out, and the request to sum up."""
        outputs = (f"{one.call.tool} model outputs: {json.dumps(plain(one), ensure_ascii=False)}" for one in observed)
        return "\n".join((*outputs, "", SUMMARY.format(question=question)))

    def complained(self, question: str, problem: str) -> str:
        """What was wrong, and the question again."""
        return f"error: {problem}\n\n{SUMMARY.format(question=question)}"


def split(text: str) -> dict[str, str]:
    """The fields there are, the first of each name, in whatever order; none where the text has none.

    A name without its emoji counts at the beginning of a line or behind the quote of one, and with a colon or quotes:
    "value" is also a word.
    """
    marks = [match for match in FIELD.finditer(text) if _is_field(text, match)]
    fields: dict[str, str] = {}
    for place, mark in enumerate(marks):
        end = marks[place + 1].start() if place + 1 < len(marks) else len(text)
        fields.setdefault(mark["name"].lower(), _bare(text[mark.end() : end]))
    return fields


def _is_field(text: str, match: re.Match[str]) -> bool:
    if match["emoji"]:
        return True
    begins = not text[: match.start()].rpartition("\n")[2].strip()
    return begins and (match["colon"] is not None or match[0][0] in QUOTES)


def _bare(text: str) -> str:
    """A field without the commas and the one pair of quotes around it."""
    text = text.strip().rstrip(",").strip()
    closed = len(text) > 1 and (text[0] + text[-1] in ('""', "''", "\u201c\u201d"))
    return text[1:-1].strip() if closed else text


def calls_of(text: str) -> tuple[Call, ...]:
    """The calls of a field; ValueError that says what is wrong."""
    bare = FENCE.sub("", text.strip()).strip()
    if bare.lower() in ("", "[]", "none", "null", "{}"):
        return ()
    found = loads(re.sub(r",\s*([\]}])", r"\1", bare))
    listed = found if isinstance(found, list | tuple) else [found]
    if len(listed) > MOST:
        raise ValueError(f"{len(listed)} actions were given; {MOST} at most")
    return tuple(_call(one) for one in listed)


def _call(given: Any) -> Call:
    if not isinstance(given, Mapping) or not isinstance(given.get("API_name"), str):
        raise ValueError(f'an action is {{"API_name": ..., "API_params": {{...}}}}, but {str(given)[:80]!r} was given')
    arguments = given.get("API_params") or {}
    if not isinstance(arguments, Mapping):
        raise ValueError(f'"API_params" is a mapping, but {str(arguments)[:80]!r} was given')
    return Call(given["API_name"].strip(), {str(key): value for key, value in arguments.items()})


def written(thought: str, calls: Sequence[Call], value: str) -> str:
    """A reply in this form, as a model is trained on it."""
    actions = [{"API_name": one.tool, "API_params": dict(one.arguments)} for one in calls]
    return llava_plus.written(thought, actions, value)
