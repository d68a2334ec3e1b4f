"""Many requests for `anyx run`: files of folders, each file by itself, or lines of JSON; and the name of each."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from anyx.media import Medium

UNSAFE = re.compile(r"[^\w.+=@-]+")
OWN = ("id", "messages", "prompt", "seed")  # keys of a line beside the model's inputs


class Request(NamedTuple):
    """A request: its `name` in file names and the manifest, what is sent, its seed; or why it is none."""

    name: str
    messages: list[dict[str, Any]]
    seed: int
    error: str | None = None

    def digest(self, how: Mapping[str, Any]) -> str:
        """What tells it, and `how` it is answered, from others."""
        told = json.dumps([self.messages, self.seed, how], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def named(given: str) -> str:
    """An id as part of a file name: `image->audio` becomes `image_to_audio`; never empty, hidden or a path."""
    return UNSAFE.sub("_", given.replace("->", "_to_")).lstrip(".") or "_"


def of_files(
    prompt: str, media: Sequence[tuple[str, Path]], files: Sequence[tuple[str, Path]], seed: int
) -> list[Request]:
    """A request for each of `files`, with the same words; `media` go with every one. Without `files` one for all."""
    stems = [path.stem for _, path in files]
    requests = []
    for (key, path), stem in zip(files, stems, strict=True):
        name = stem if stems.count(stem) == 1 else path.name
        requests.append(Request(named(name), [_turn(prompt, (*media, (key, path)))], seed))
    return unique(requests) or [Request("request", [_turn(prompt, media)], seed)]


def _turn(prompt: str, media: Sequence[tuple[str, Path]]) -> dict[str, Any]:
    sent = [{"type": key, "path": str(path)} for key, path in media]
    return {"role": "user", "content": [*sent, *([{"type": "text", "text": prompt}] if prompt else [])]}


def files_of(key: str, path: Path, kind: type[Medium]) -> tuple[list[tuple[str, Path]], list[Path]]:
    """The files of a folder by name, and those left out, by whose suffix they hold no such media; a file is itself.

    Hidden files are not looked at; one without a suffix may be anything.
    """
    if not path.is_dir():
        return [(key, path)], []
    found = [one for one in sorted(path.iterdir()) if one.is_file() and not one.name.startswith(".")]
    if not found:
        raise ValueError(f"--{key}: there is no file in the folder '{path}'")
    left = [one for one in found if kind.suffixes and one.suffix and one.suffix[1:].lower() not in kind.suffixes]
    if len(left) == len(found):
        raise ValueError(f"--{key}: by its suffix none of {len(found)} files in '{path}' is one: {few(left)}")
    return [(key, one) for one in found if one not in left], left


def few(paths: Sequence[Path]) -> str:
    """The names of three files at most."""
    return ", ".join([*(path.name for path in paths[:3]), *(["..."] if len(paths) > 3 else [])])


def of_lines(place: str, inputs: Sequence[str], seed: int) -> list[Request]:
    """Requests of a JSONL file, or of the standard input (`-`); paths are from the file's folder, or from here.

    A line that is no request is one with an `error`, so that the others are answered.
    """
    if place == "-":
        return unique([*_lines(sys.stdin, Path(), inputs, seed)])
    path = Path(place)
    if not path.is_file():
        raise ValueError(f"--requests: there is no file '{path}'")
    with path.open(encoding="utf-8") as lines:
        return unique([*_lines(lines, path.parent, inputs, seed)])


def _lines(lines: Any, folder: Path, inputs: Sequence[str], seed: int) -> Iterator[Request]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = f"{number:06d}"
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError(f"a line is a mapping with {', '.join(OWN)} or {', '.join(inputs)}")
            name = named(str(told.get("id", name)))
            own = told.get("seed", seed)
            if isinstance(own, bool) or not isinstance(own, int):
                raise ValueError(f"seed: {own!r} given; it is a whole number")
            yield Request(name, _messages(told, folder, inputs), own)
        except ValueError as error:
            yield Request(name, [], seed, f"line {number}: {error}")


def _messages(told: Mapping[str, Any], folder: Path, inputs: Sequence[str]) -> list[dict[str, Any]]:
    allowed = (*OWN, *inputs)
    if unknown := [key for key in told if key not in allowed]:
        raise ValueError(f"{unknown[0]!r} is not one of {', '.join(allowed)}")
    if "messages" in told:
        if mixed := [key for key in told if key in ("prompt", *inputs)]:
            raise ValueError(f"{mixed[0]!r} stands beside 'messages', which say all")
        messages = told["messages"]
        if not isinstance(messages, list) or not all(isinstance(one, dict) for one in messages) or not messages:
            raise ValueError('messages: a list such as [{"role": "user", "content": "..."}] is wanted')
        return [{**one, "content": _content(one.get("content"), folder)} for one in messages]
    content: list[dict[str, Any]] = []
    for key in inputs:
        paths = told.get(key, [])
        for path in paths if isinstance(paths, list) else [paths]:
            content.append({"type": key, "path": path})
    if words := told.get("prompt"):
        content.append({"type": "text", "text": str(words)})
    if not content:
        raise ValueError(f"nothing is asked: give messages, a prompt or {', '.join(inputs)}")
    return [{"role": "user", "content": _content(content, folder)}]


def _content(content: Any, folder: Path) -> Any:
    """Parts with their paths from the folder of the file that says them."""
    if not isinstance(content, list):
        return content
    made = []
    for part in content:
        if isinstance(part, dict) and part.get("type") != "text":
            place = part.get("path", part.get(str(part.get("type"))))
            if not isinstance(place, str):
                raise ValueError(f"a part of type {part.get('type')!r} says its file as a text under 'path'")
            part = {"type": part.get("type"), "path": str(folder / place)}
        made.append(part)
    return made


def unique(requests: Sequence[Request]) -> list[Request]:
    """The same, where a name comes twice the later ones as errors: their files would be written over."""
    seen: set[str] = set()
    made = []
    for number, one in enumerate(requests, 1):
        if one.name in seen:
            told = f"the name {one.name!r} is that of an earlier request; ids differ in more than signs"
            one = Request(f"{one.name}~{number}", [], one.seed, told)
        seen.add(one.name)
        made.append(one)
    return made
