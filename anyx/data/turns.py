"""From the turns of other people's conversations to messages: marks in a text that stand for media, and re-packs.

Turns are `{"from": "human" or "gpt", "value": text}`. Where media stand is said in one of two ways: by marks in the
text, such as `<image>` (`lay`), or by the modality that each turn names, with the file named once a row (`repacked`,
NExT-GPT's way). A turn that says nothing and shows nothing is a ValueError: nothing can be learnt from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

Part = dict[str, Any]
Direction = Literal["in", "out"]

UNSPACED = re.compile(r"[\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef]")  # Han, kana, full-width forms
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
NOTHING = ("", "00000000000")  # what re-packs write where a row has no file
NAMED_BY = ("image_name", "video_name", "audio_name", "mm_name")  # the fields of re-packs that name a file


class MakePart(Protocol):
    """Makes the part of a message from a key, a file's name (None: there is none) and a caption."""

    def __call__(self, key: str, name: str | None, caption: str | None = None) -> Part:
        """The part."""
        ...


def role_of(turn: Mapping[str, Any]) -> str:
    """Whose turn it is, in our words."""
    if turn["from"] not in ROLES:
        raise ValueError(f"{turn['from']!r} is not one of {', '.join(ROLES)}")
    return ROLES[turn["from"]]


def message(role: str, parts: Iterable[Part | str]) -> dict[str, Any]:
    """A message of texts and media; neighbouring texts are joined, with a space but in Chinese; empty ones left out."""
    content: list[Part] = []
    for part in parts:
        if not isinstance(part, str):
            content.append(part)
        elif part.strip():
            if content and content[-1]["type"] == "text":
                part = joined(content.pop()["text"], part)
            content.append({"type": "text", "text": part})
    if not content:
        raise ValueError(f"the turn of {role} is empty")
    return {"role": role, "content": content}


def joined(first: str, second: str) -> str:
    """Two texts as one; letters that are written without spaces, and their punctuation, meet without one."""
    return first + ("" if UNSPACED.search(first[-1:]) and UNSPACED.search(second[:1]) else " ") + second


def marks_of(keys: Iterable[str]) -> re.Pattern[str]:
    """The marks `<key>` in a text, with the white space around them."""
    return re.compile(r"\s*<(" + "|".join(map(re.escape, keys)) + r")>\s*")


def lay(
    turns: Iterable[Mapping[str, Any]], marks: re.Pattern[str], take: Callable[[str, re.Match[str]], Part | None]
) -> list[dict[str, Any]]:
    """Messages with a part where each mark stood: `take(role, mark)`, or nothing where that is None."""
    messages = []
    for turn in turns:
        role, value = role_of(turn), turn["value"]
        parts: list[Part | str] = []
        place = 0
        for mark in marks.finditer(value):
            part = take(role, mark)
            parts += [value[place : mark.start()], *([part] if part else [])]
            place = mark.end()
        messages.append(message(role, [*parts, value[place:]]))
    return messages


def repacked(row: Mapping[str, Any], make: MakePart, fields: Sequence[str] = NAMED_BY) -> dict[str, Any]:
    """A row of NExT-GPT's re-packs: `{"conversation": [...], "mm_name" or "<key>_name": file}`; `fields` name files.

    A human turn says its `input_modality`, another its `output_modality` and the `caption` of what it shows. A file
    stands before the first human turn that takes it (or at its mark), what is shown at the end of its turn; a later
    human turn of the same modality still speaks of the same file. Two known faults of the data are read as meant: the
    file of a clip may be called `image_name`, and a row of text names the file `00000000000`.
    """
    given = dict.fromkeys(name for field in fields for name in listed(row.get(field)))
    names = [name for name in given if name not in NOTHING]
    left, seen = iter(names), set()
    messages, used = [], 0
    for turn in row["conversation"]:
        role, value = role_of(turn), turn["value"]
        speaks = role == "assistant"
        key = turn.get("output_modality" if speaks else "input_modality") or "text"
        before, _, after = value.partition(f"<{key}>")
        texts = [before.strip(), after.strip()] if before != value else ([value, ""] if speaks else ["", value])
        if key == "text" or (not speaks and key in seen):
            messages.append(message(role, [" ".join(filter(None, texts))]))
            continue
        seen.add(key)
        name = next(left, None)
        used += name is not None
        caption = turn.get("caption")
        if speaks and not (isinstance(caption, str) and caption.strip()):
            raise ValueError(f"a turn shows {key} without a caption")
        if not speaks and name is None:
            raise ValueError(f"a turn takes {key}, but no file is left; {len(names)} are named")
        messages.append(message(role, [texts[0], make(key, name, caption), texts[1]]))
    if used < len(names):
        raise ValueError(f"{len(names)} files are named, but the turns take {used}")
    return {"messages": messages}


def captioned(part: Part, caption: str, direction: Direction, prompt: str, reply: str) -> dict[str, Any]:
    """Two turns of a medium and its caption: "in" asks what it is, "out" asks for it; "{}" stands for the caption."""
    if direction == "in":
        ask: Any = [part, {"type": "text", "text": prompt}]
        answer: Any = caption
    else:
        ask = prompt.replace("{}", caption)
        answer = [{"type": "text", "text": reply.replace("{}", caption)}, part] if reply else [part]
    return {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}


def prompts_of(given: Sequence[str], direction: Direction, default: Sequence[str]) -> tuple[str, ...]:
    """The requests of a source of captions; those for media say where the caption stands."""
    deaf = [prompt for prompt in given if "{}" not in prompt]
    if direction == "out" and deaf:
        raise ValueError(f"prompts: {deaf[0]!r} given; with direction out, each says by {{}} where the caption stands")
    return tuple(given or default)


def listed(value: Any) -> Sequence[Any]:
    """A field that holds one thing or several, or is absent."""
    return [] if value is None else list(value) if isinstance(value, list) else [value]
