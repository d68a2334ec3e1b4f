"""Chat templates as data: what is written before, between and after the turns of a conversation.

A template is a small mapping, so a YAML may name one (`template: chatml`) or spell one out. In its strings `{bos}` and
`{eos}` stand for the tokenizer's own tokens, and special tokens may be written as they are (`<|im_start|>`); the words
of a conversation are never read that way. The assistant's `end` is supervised and stops generation, at its first
special token if it has one; `tail` is neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

ROLES = ("user", "assistant", "system")


@dataclass(frozen=True)
class Turn:
    """`prefix` content `end` `tail`."""

    prefix: str = ""
    end: str = ""
    tail: str = ""


@dataclass(frozen=True)
class Template:
    """`begin`, then the turns; `media_start` and `media_end` stand around each medium that a user sends.

    `system_default` is said when a conversation brings no system turn; empty means that nothing is.
    """

    user: Turn
    assistant: Turn
    system: Turn = Turn()
    begin: str = ""
    system_default: str = ""
    media_start: str = ""
    media_end: str = ""

    @classmethod
    def of(cls, value: str | Mapping[str, Any] | Template) -> Template:
        """A template from its name, from a mapping of its fields, or itself."""
        if isinstance(value, Template):
            return value
        if isinstance(value, str):
            if value not in TEMPLATES:
                raise ValueError(f"template: {value!r} is not one of {', '.join(sorted(TEMPLATES))}")
            return TEMPLATES[value]
        names = {field.name for field in fields(cls)}
        unknown, missing = sorted(set(value) - names), sorted({"user", "assistant"} - set(value))
        if unknown or missing:
            raise ValueError(
                f"template: unknown keys {unknown}, missing keys {missing}; it has {', '.join(sorted(names))}"
            )
        given = dict(value)
        for role in ROLES:
            turn, keys = value.get(role, {}), [field.name for field in fields(Turn)]
            if not isinstance(turn, Mapping) or set(turn) - set(keys):
                raise ValueError(f"template.{role}: {turn!r} was given; its keys are {', '.join(keys)}")
            given[role] = Turn(**turn)
        return cls(**given)

    def strings(self) -> list[str]:
        """Everything the template itself writes."""
        turns = [
            text for turn in (self.user, self.assistant, self.system) for text in (turn.prefix, turn.end, turn.tail)
        ]
        return [self.begin, self.system_default, self.media_start, self.media_end, *turns]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a YAML; `Template.of` reads it back."""
        return asdict(self)


def _chatml(role: str) -> Turn:
    return Turn(f"<|im_start|>{role}\n", "<|im_end|>", "\n")


TEMPLATES: Mapping[str, Template] = {
    "chatml": Template(user=_chatml("user"), assistant=_chatml("assistant"), system=_chatml("system")),
    # NExT-GPT v1: the separator after a reply belongs to the reply, and stands before the next "Human:".
    "vicuna_v0": Template(
        begin="{bos}### ",
        user=Turn("Human: ", "", "\n### "),
        assistant=Turn("Assistant: ", "\n###", ""),
        system=Turn("", "", "\n### "),
        media_start="<Img>",
        media_end="</Img> ",
    ),
    "vicuna_v1": Template(
        begin="{bos}",
        user=Turn("USER: ", "", " "),
        assistant=Turn("ASSISTANT: ", "{eos}", ""),
        system=Turn("", "", " "),
        system_default="A chat between a curious user and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    ),
    "plain": Template(user=Turn(), assistant=Turn("", "{eos}", ""), system=Turn()),
}
