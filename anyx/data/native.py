"""Other formats -> the native JSON lines: one record a line, checked, its media found, its paths portable.

What is bad costs its record only, and is counted with its reason: a row that cannot be read, a medium of a user's that
is not there. A medium that an assistant shows may be missing where it has a caption: the record keeps the caption, from
which a text encoder teaches, and loses the path. Media are not opened.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from anyx.data.sources import SOURCES, UNREADABLE, Record, relocated
from anyx.imports import find
from anyx.processor import source_of
from anyx.prompt import parts_of
from anyx.signatures import Errors, check_keywords

NAMES = re.compile(r"'[^']*'|\S*[./]\w\S*|\d+")  # what differs among records with the same fault
SHOWN = 5  # reasons of skipped records that are told in full


@dataclass
class Tally:
    """What became of the records: `kinds` counts why some were skipped, `told` are the first of them in full."""

    read: int = 0
    written: int = 0
    pathless: int = 0  # media of assistants that are not there, kept as captions
    dropped: int = 0  # what a reader found in turns and could not use: records say it under `dropped`
    kinds: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """How many records were skipped."""
        return sum(self.kinds.values())

    def skip(self, error: Exception) -> None:
        """Count a record that cannot be used, under its reason without names and numbers."""
        text = str(error)
        reason = re.sub(r"^.*?: (row|record) \d+:? ", "", text)
        self.kinds[re.sub(NAMES, "...", reason)] += 1
        if len(self.told) < SHOWN:
            self.told.append(text)


class MissingMedia(ValueError):
    """A medium's file is not there."""


def open_source(kind: str, path: str | Path, options: Mapping[str, Any]) -> Sequence[Record]:
    """The source that a `type` of `data:` names, with options as a YAML would give them."""
    if kind not in SOURCES and ":" not in kind:
        raise ValueError(f"format: {kind!r} is not one of {', '.join(SOURCES)} (or 'module:Class')")
    cls = find(SOURCES.get(kind, kind), "format")
    errors, given = Errors(), {"path": str(path), **options}
    check_keywords(errors, "", given, cls, wired=False)
    if errors:
        raise ValueError(f"{kind}: {'; '.join(errors)}")
    return cast(Sequence[Record], cls(**given))


def records_of(
    source: Sequence[Record], tally: Tally, *, check: bool = True, strict: bool = False, limit: int | None = None
) -> Iterator[Record]:
    """The records that can be used; with `check` the media must be there, `strict` raises what else is counted."""
    for index in range(len(source))[:limit]:
        tally.read += 1
        try:
            record = source[index]
            if check:
                record, lost = found_media(record)
                tally.pathless += lost
        except UNREADABLE as error:
            if strict:
                raise
            tally.skip(error)
            continue
        tally.dropped += len(record.get("dropped", ()))
        yield record


def found_media(record: Record) -> tuple[Record, int]:
    """The record without the paths of missing media that a caption can stand for, and how many those are."""
    if "media" in record:
        for source in record["media"].values():
            _there(source, record)
    if "messages" not in record:
        return record, 0
    lost, messages = 0, []
    for message in record["messages"]:
        parts = []
        for part in [] if isinstance(message["content"], str) else parts_of(message):
            if part["type"] != "text":
                try:
                    if message["role"] != "assistant" and source_of(part) is None:
                        raise MissingMedia(f"{record['id']}: a medium of a user's names no file")
                    _there(source_of(part), record)
                except MissingMedia:
                    if message["role"] != "assistant" or not part.get("caption"):
                        raise
                    part = {"type": part["type"], "caption": part["caption"]}
                    lost += 1
            parts.append(part)
        messages.append(message if isinstance(message["content"], str) else {**message, "content": parts})
    return {**record, "messages": messages}, lost


def _there(source: Any, record: Record) -> None:
    for path in source if isinstance(source, list) else [source]:
        if isinstance(path, str) and not os.path.isfile(path):
            raise MissingMedia(f"{record['id']}: a medium is missing: {path}")


def portable(record: Record, folder: Path) -> Record:
    """The record with media paths as a JSONL in `folder` says them: relative below it, absolute elsewhere."""

    def shorten(source: Any) -> Any:
        if isinstance(source, list):
            return [shorten(item) for item in source]
        if source is None:
            return None
        if not isinstance(source, str):
            raise ValueError(f"{record['id']}: only paths can be written, but a medium is {type(source).__name__}")
        path = os.path.abspath(source)
        inside = os.path.relpath(path, folder.absolute())
        return path if inside.startswith("..") else inside

    made = dict(record)
    if "media" in made:
        made["media"] = {key: shorten(source) for key, source in made["media"].items()}
    if "messages" in made:
        made["messages"] = [
            message
            if isinstance(message["content"], str)
            else {
                **message,
                "content": [p if p["type"] == "text" else relocated(p, shorten) for p in parts_of(message)],
            }
            for message in made["messages"]
        ]
    return made


def write(records: Iterable[Record], path: Path) -> int:
    """Write records as JSON lines, gzipped if the name ends in `.gz`; the file is there when all is, or not at all."""
    count = 0
    with _lines(path) as line:
        for record in records:
            line(json.dumps(portable(record, path.parent), ensure_ascii=False, separators=(",", ":")))
            count += 1
    return count


@contextmanager
def _lines(path: Path) -> Iterator[Callable[[str], object]]:
    """A function that writes lines; the same lines give the same bytes, gzipped or not."""
    if not path.name.endswith((".jsonl", ".jsonl.gz")):
        raise ValueError(f"{path}: native records are written to a .jsonl or .jsonl.gz")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(part, "wb") as raw:
            packed = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else None
            with io.TextIOWrapper(cast(Any, packed or raw), encoding="utf-8", newline="\n") as file:
                yield lambda text: file.write(f"{text}\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def route_of(record: Record) -> str:
    """What goes in and what comes out, such as `image+text -> text`."""
    if "messages" not in record:
        return "+".join(sorted({*record["media"], *(["text"] if record.get("caption") else [])}))
    sides: dict[bool, set[str]] = {False: set(), True: set()}
    for message in record["messages"]:
        if message["role"] != "system":
            sides[message["role"] == "assistant"] |= {part["type"] for part in parts_of(message)}
    said, replied = ("+".join(sorted(sides[side])) for side in (False, True))
    return f"{said} -> {replied or 'nothing'}"


def media_of(record: Record) -> Iterator[tuple[str, str]]:
    """Keys and paths of all media of a record."""
    found = list(dict(record.get("media", {})).items())
    parts = [part for message in record.get("messages", ()) for part in parts_of(message)]
    found += [(part["type"], source_of(part)) for part in parts if part["type"] != "text"]
    for key, source in found:
        yield from ((key, path) for path in (source if isinstance(source, list) else [source]) if isinstance(path, str))
