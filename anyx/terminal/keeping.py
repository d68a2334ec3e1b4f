"""A conversation as a folder: `conversation.json`, and its media beside it in `media/`; read again by `load`.

A medium that came from a file which is still as it was is copied, byte for byte; any other is written in the format of
its kind that loses least, and what a model showed is not heard by it again but as the signal that asked for it.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx import durable
from anyx.prompt import Message, parts_of
from anyx.reply import suffix_of
from anyx.sampling import Sampling, misfits

FILE, MEDIA, VERSION = "conversation.json", "media", 1
Put = Callable[[Mapping[str, Any]], str]  # writes the medium of a part; says its path


class Kept(NamedTuple):
    """What is kept of a conversation: `messages` in the chat form, the media read, and how replies are drawn."""

    messages: Sequence[Message]
    seed: int
    sampling: Sampling
    decode: dict[str, Any]


class Origin(NamedTuple):
    """The file a medium was read from, with its size and time of change then."""

    path: Path
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> Origin:
        """A file as it is now."""
        found = path.stat()
        return cls(path.resolve(), found.st_size, found.st_mtime_ns)

    @property
    def holds(self) -> bool:
        """Whether the file is what it was."""
        return self.path.is_file() and Origin.of(self.path) == self


def attached(key: str, kind: type[Any], path: Path) -> dict[str, Any]:
    """A file as a part of a message, which says where it came from."""
    origin = Origin.of(path)
    return {"type": key, "media": kind.read(path), "origin": origin}


def save(folder: Path, kept: Kept) -> Path:
    """Write the folder; a part says its `origin` where it has one. What was said is written last, and at once."""
    (folder / MEDIA).mkdir(parents=True, exist_ok=True)
    numbers = itertools.count()

    def put(part: Mapping[str, Any]) -> str:
        medium, origin = part["media"], part.get("origin")
        exact = origin is not None and origin.holds
        suffix = origin.path.suffix if origin is not None and exact else f".{suffix_of(medium)}"
        name = name_of(part, next(numbers), suffix)
        if origin is not None and exact:
            if origin.path != (folder / name).resolve():
                shutil.copyfile(origin.path, folder / name)
        else:
            medium.save(folder / name)
        return name

    durable.write_text(folder / FILE, text_of(written(kept, put)))
    return folder / FILE


def written(kept: Kept, put: Put) -> dict[str, Any]:
    """A conversation as JSON, which `load` reads beside its media."""
    messages = [{"role": one["role"], "content": content_of(one, put)} for one in kept.messages]
    head = {"anyx": VERSION, "seed": kept.seed, "sampling": dataclasses.asdict(kept.sampling), "decode": kept.decode}
    return {**head, "messages": messages}


def content_of(message: Message, put: Put) -> list[dict[str, Any]]:
    """The parts of a message as JSON: words, and the paths of media."""
    return [
        {"type": "text", "text": part["text"]} if part["type"] == "text" else {"type": part["type"], "path": put(part)}
        for part in parts_of(message)
    ]


def name_of(part: Mapping[str, Any], number: int, suffix: str) -> str:
    """Where a medium lies in the conversation's folder."""
    return f"{MEDIA}/{number:03d}_{part['type']}{suffix}"


def text_of(conversation: Mapping[str, Any]) -> str:
    """What stands in the file."""
    return json.dumps(conversation, indent=1, ensure_ascii=False) + "\n"


def load(folder: Path, kinds: Mapping[str, Mapping[str, type[Any]]]) -> Kept:
    """Read such a folder; `kinds` says for each role which keys it may send, and of which class.

    ValueError for what is no such folder, for a path that leads out of it, and for media that the model does not know.
    """
    file = folder / FILE if folder.is_dir() else folder
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: no conversation can be read: {error}") from None
    if not isinstance(told, dict) or told.get("anyx") != VERSION:
        raise ValueError(f"{file}: it is no conversation of form {VERSION}, as /save writes them")
    try:
        messages = [_message(one, file.parent, kinds) for one in told["messages"]]
        sampling, seed, decode = dict(told["sampling"]), int(told["seed"]), dict(told["decode"])
        wrong = [f"{name}: {words}" for name, words in misfits(sampling)]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{file}: it is no conversation as /save writes them ({type(error).__name__} {error})"
        ) from None
    if wrong:
        raise ValueError(f"{file}: sampling.{wrong[0]}")
    return Kept(messages, seed, Sampling(**sampling), decode)


def _message(told: Mapping[str, Any], folder: Path, kinds: Mapping[str, Mapping[str, type[Any]]]) -> dict[str, Any]:
    role = told["role"]
    content: list[dict[str, Any]] = []
    for part in parts_of(told):
        if part["type"] == "text":
            content.append({"type": "text", "text": str(part["text"])})
            continue
        known = kinds.get(role, {})
        if part["type"] not in known:
            raise ValueError(
                f"{role}: {part['type']!r} is not one of {', '.join(known) or 'text'}, which this model has"
            )
        path = (folder / part["path"]).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{part['path']!r} leads out of {folder}; the media of a conversation lie beside it")
        content.append(attached(part["type"], known[part["type"]], path))
    return {"role": role, "content": content}


def shown(messages: Sequence[Message]) -> list[str]:
    """A line a message, the user's numbered from 1 as `/edit` counts them; media stand in brackets."""
    lines, number = [], 0
    for message in messages:
        words = " ".join(
            part["text"].strip() if part["type"] == "text" else f"[{part['type']}]" for part in parts_of(message)
        )
        number += message["role"] == "user"
        lines.append(f"{number:>3} {words}" if message["role"] == "user" else f"    {words}")
    return lines
