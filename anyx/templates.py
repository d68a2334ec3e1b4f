"""Chat templates as data: what is written before, between and after the turns of a conversation.

A template is a small mapping, so a YAML may name one (`template: chatml`) or spell one out. In its strings `{bos}` and
`{eos}` stand for the tokenizer's own tokens, and special tokens may be written as they are (`<|im_start|>`); the words
of a conversation are never read that way. The assistant's `end` is supervised and stops generation, at its first
special token if it has one; `tail` is neither.

Published weights know what a tokenizer made of pieces of text, and the pieces were cut in other ways than ours, which
are what one voice says between media and groups. `Turn.apart`, `Template.first` and `Template.tight` cut as NExT-GPT v1
did; `Template.joined` as LLaVA and NExT-GPT v2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

ROLES = ("user", "assistant", "system")


LabelRule = Literal["rounds", "turns"]
Front = Literal["", "turn", "page"]
Mark = str | Mapping[str, str]  # one text for all media, or one for each key


@dataclass(frozen=True)
class Turn:
    """`prefix` content `end` `tail`; with `apart`, words that follow the prefix at once are tokenised by themselves."""

    prefix: str = ""
    end: str = ""
    tail: str = ""
    apart: bool = False


@dataclass(frozen=True)
class Joined:
    """What all voices say between two media is one text to the tokenizer.

    The text after a medium of the keys `bos_after` begins with {bos} again; `close` is written after the last turn.
    Where a reply begins and ends among the ids is found by the length of the text before it, tokenised alone (`labels:
    rounds`). `labels: turns` is LLaVA's rule for vicuna v0 and serves parity only: every turn is counted with a {bos}
    of its own, so that labels drift by one a turn, and of a user's turn the first two ids are supervised.
    """

    bos_after: Sequence[str] = ()
    close: str = ""
    labels: LabelRule = "rounds"

    def __post_init__(self) -> None:
        if self.labels not in get_args(LabelRule):
            raise ValueError(f"template.joined.labels: {self.labels!r} is not one of {', '.join(get_args(LabelRule))}")
        object.__setattr__(self, "bos_after", tuple(self.bos_after))


@dataclass(frozen=True)
class Template:
    """`begin`, then the turns; `media_start` and `media_end` stand around each medium that a user sends.

    Both may be mappings from key to text. In them `{Key}` is the medium's key with a capital (X-LLM: `<{Key}>`).

    `system_default` is said when a conversation brings no system turn; empty means that nothing is. `first` is the
    user's first turn and `last` the assistant's reply at the end, where they are written otherwise. `front`: media
    stand before their `turn`, its prefix included, or all of them right after `begin`, before the whole `page`.
    `tight`: no spaces are written beside signal groups and special tokens, as by tokenizers that strip what stands
    around them. In `media_start`, `{number}` counts the media of the conversation from 1. `tasks` say how a model wants
    to be asked for what it was trained on: `{}` stands for the user's words.
    """

    user: Turn
    assistant: Turn
    system: Turn = Turn()
    begin: str = ""
    system_default: str = ""
    media_start: Mark = ""
    media_end: Mark = ""
    first: Turn | None = None
    last: Turn | None = None
    front: Front = ""
    tight: bool = False
    joined: Joined | None = None
    tasks: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.front not in get_args(Front):
            raise ValueError(f"template.front: {self.front!r} is not one of '', 'turn', 'page'")
        for task, form in self.tasks.items():
            if form.count("{}") != 1:
                raise ValueError(f"template.tasks.{task}: {form!r} given; it says once by {{}} where the words stand")

    def asked(self, task: str, words: str) -> str:
        """A request of a task as the model knows it."""
        if task not in self.tasks:
            raise ValueError(f"task: {task!r} is not one of {', '.join(self.tasks) or 'none: this template has none'}")
        return self.tasks[task].replace("{}", words).strip()

    @classmethod
    def of(cls, value: str | Mapping[str, Any] | Template) -> Template:
        """A template from its name, from a mapping of its fields, or itself."""
        if isinstance(value, Template):
            return value
        if isinstance(value, str):
            if value not in TEMPLATES:
                raise ValueError(f"template: {value!r} is not one of {', '.join(sorted(TEMPLATES))}")
            return TEMPLATES[value]
        names = {each.name for each in fields(cls)}
        unknown, missing = sorted(set(value) - names), sorted({"user", "assistant"} - set(value))
        if unknown or missing:
            raise ValueError(
                f"template: unknown keys {unknown}, missing keys {missing}; it has {', '.join(sorted(names))}"
            )
        given = dict(value)
        for name, section in SECTIONS.items():
            if name in ROLES or value.get(name) is not None:
                given[name] = _section(name, section, value.get(name, {}))
        return cls(**given)

    def around(self, key: str, number: int) -> tuple[str, str]:
        """What stands before and after a conversation's medium of a key, its `number`-th from 1."""
        start, end = (_marked(name, mark, key) for name, mark in self._marks().items())
        return start.replace("{number}", str(number)), end

    def strings(self) -> list[str]:
        """Everything the template itself writes."""
        voices = (self.user, self.assistant, self.system, self.first or Turn(), self.last or Turn())
        turns = [text for turn in voices for text in (turn.prefix, turn.end, turn.tail)]
        close = self.joined.close if self.joined else ""
        marks = [mark if isinstance(mark, str) else "".join(mark.values()) for mark in self._marks().values()]
        return [self.begin, self.system_default, *marks, close, *turns]

    def _marks(self) -> dict[str, Mark]:
        return {"media_start": self.media_start, "media_end": self.media_end}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a YAML; `Template.of` reads it back."""
        return asdict(self)


def _section(name: str, cls: type[Any], given: Any) -> Any:
    keys = [each.name for each in fields(cls)]
    if not isinstance(given, Mapping) or set(given) - set(keys):
        raise ValueError(f"template.{name}: {given!r} was given; its keys are {', '.join(keys)}")
    return cls(**given)


def _marked(name: str, mark: Mark, key: str) -> str:
    if not isinstance(mark, str) and key not in mark:
        raise ValueError(f"template.{name}: {key!r} is not one of {', '.join(mark)}")
    return (mark if isinstance(mark, str) else mark[key]).replace("{Key}", key.capitalize())


SECTIONS: Mapping[str, type[Turn] | type[Joined]] = {
    **dict.fromkeys((*ROLES, "first", "last"), Turn),
    "joined": Joined,
}


VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


def _chatml(role: str) -> Turn:
    return Turn(f"<|im_start|>{role}\n", "<|im_end|>", "\n")


TEMPLATES: Mapping[str, Template] = {
    "chatml": Template(user=_chatml("user"), assistant=_chatml("assistant"), system=_chatml("system")),
    # NExT-GPT v1, id for id: the separator after a reply belongs to the reply, and stands before the next "Human:".
    "vicuna_v0": Template(
        begin="{bos}### ",
        first=Turn("Human: ", "", "\n### ", apart=True),
        user=Turn("Human: ", "", "\n### "),
        assistant=Turn("Assistant: ", "\n###", ""),
        system=Turn("", "", "\n### "),
        media_start="<Img>",
        media_end="</Img> ",
        tight=True,
    ),
    "vicuna_v1": Template(
        begin="{bos}",
        user=Turn("USER: ", "", " "),
        assistant=Turn("ASSISTANT: ", "{eos}", ""),
        system=Turn("", "", " "),
        system_default=VICUNA,
    ),
    # MiniGPT-4 (arXiv 2304.10592): vicuna v0 without the spaces around its marks; "###" ends a reply.
    "minigpt4": Template(
        begin="{bos}",
        first=Turn("###Human: "),
        user=Turn("Human: "),
        assistant=Turn("###Assistant: ", "###"),
        system_default="Give the following image: <Img>ImageContent</Img>. You will be able to see the image once I "
        "provide it to you. Please answer my questions.",
        media_start="<Img>",
        media_end="</Img> ",
    ),
    # MiniGPT-v2 (arXiv 2310.09478): Llama-2's turns, each with its own {bos}; a task is a tag before the words.
    "minigpt_v2": Template(
        user=Turn("{bos}[INST] ", " [/INST] "),
        assistant=Turn("", "{eos}"),
        media_start="<Img>",
        media_end="</Img> ",
        tasks={task: f"[{task}] {{}}" for task in ("vqa", "caption", "grounding", "refer", "detection", "identify")},
    ),
    # Qwen-VL (arXiv 2308.12966): ChatML, its pictures numbered and between tags.
    "qwen_vl": Template(
        user=_chatml("user"),
        assistant=_chatml("assistant"),
        system=_chatml("system"),
        system_default="You are a helpful assistant.",
        media_start="Picture {number}: <img>",
        media_end="</img>\n",
        tasks={"grounding": "Generate the caption in English with grounding: {}", "refer": "<ref>{}</ref>"},
    ),
    "plain": Template(user=Turn(), assistant=Turn("", "{eos}", ""), system=Turn()),
    # LLaVA's, id for id: one text between media, each medium on a line of its own.
    "llava_v1": Template(
        begin="{bos}",
        user=Turn("USER: ", "", " "),
        assistant=Turn("ASSISTANT: ", "{eos}", ""),
        system=Turn("", "", " "),
        system_default=VICUNA,
        media_end="\n",
        joined=Joined(),
    ),
    "llava_plain": Template(begin="{bos}", user=Turn(), assistant=Turn("", "\n", ""), joined=Joined()),
    "llava_mistral": Template(
        begin="{bos}",
        user=Turn("[INST] ", "", " [/INST]"),
        assistant=Turn(" ", " {eos}", ""),
        media_end="\n",
        joined=Joined(),
    ),
    "llava_chatml": Template(
        user=Turn("<|im_start|>user\n", "", "<|im_end|>"),
        assistant=Turn("<|im_start|>assistant\n", "<|im_end|>", ""),
        system=Turn("<|im_start|>system\n", "", "<|im_end|>"),
        system_default="Answer the questions.",
        media_end="\n",
        joined=Joined(),
    ),
}
