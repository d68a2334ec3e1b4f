"""Rows of named columns, as shards and tables hold them, turned into records: what the sources of such sets share.

A row that is a record already (`messages`, or `media`) stays one. Of others, `fields` says which columns hold what:
`{image: [jpg, png], caption: txt}`; the first that a row has counts. The record is a pair; with a `direction` it is a
dialogue, in which the caption is told of the medium ("in"), or the medium is asked for by its caption ("out").
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image as Picture

from anyx.data.sources import Record, located
from anyx.data.turns import Direction, captioned, prompts_of
from anyx.faults import EmptyError, MissingError
from anyx.files import Member, Piece
from anyx.interfaces import Media
from anyx.media import MEDIA, Image
from anyx.processor import LOCATIONS, source_of
from anyx.prompt import parts_of

CAPTION = "caption"
FIELDS: Mapping[str, Sequence[str]] = {
    "image": ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "gif", "image", "img"),
    "audio": ("wav", "flac", "mp3", "ogg", "opus", "m4a", "audio", "sound"),
    "video": ("mp4", "webm", "mkv", "mov", "avi", "m4v", "video"),
    "series": ("npz", "csv", "series"),
    CAPTION: ("txt", "caption", "text", "json.caption", "json.text", "transcription", "cls"),
}
Fields = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Columns:
    """How a row becomes a record; see above. Columns may be given as `jpg;png`, and as `json.caption` within JSON."""

    fields: Fields | None = None
    direction: Direction | None = None
    prompts: Sequence[str] = ()
    reply: str = ""

    def __post_init__(self) -> None:
        if self.direction not in ("in", "out", None):
            raise ValueError(f"direction: {self.direction!r} is not one of in, out")
        if self.direction is None and (self.prompts or self.reply):
            raise ValueError("prompts, reply: these are of dialogues; give a direction too, in or out")
        if self.fields is not None and not self.fields:
            raise ValueError("fields: nothing is named")
        if self.direction is not None:
            default = ["{}" if self.direction == "out" else "Describe this."]
            object.__setattr__(self, "prompts", prompts_of(self.prompts, self.direction, default))

    def record(self, name: str, row: Mapping[str, Any], root: Path = Path()) -> Record:
        """The record of a row; relative paths are looked up in `root`."""
        given = meta(row) if self.fields is None else {}
        if {"messages", "media"} & given.keys():
            made = whole(given, row)
        else:
            made = self.dialogue(name, self.media(row), self.caption(row))
        return {"id": str(given.get("id") or name), **located(made, root)}

    def media(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The media of a pair, by key."""
        found = {}
        for key, columns in (self.fields or FIELDS).items():
            value = None if key == CAPTION else first(row, columns)
            if value is not None:
                found[key] = medium(value, key)
        if not found:
            raise MissingError(f"none of its columns ({', '.join(row)}) holds media that `fields` names")
        return found

    def caption(self, row: Mapping[str, Any]) -> str | None:
        """The caption of a pair, if it has one; one of no characters is an error."""
        value = first(row, (self.fields or FIELDS).get(CAPTION, ()))
        if value is None:
            if CAPTION in (self.fields or {}) or self.direction:
                raise MissingError(f"none of its columns ({', '.join(row)}) holds a caption")
            return None
        if not (text := text_of(value).strip()):
            raise EmptyError("the caption has 0 characters")
        return text

    def dialogue(self, name: str, media: Mapping[str, Any], caption: str | None) -> Record:
        """The pair, or the two turns it becomes; the prompt is chosen by the row's name."""
        if self.direction is None:
            return {"media": dict(media), **({} if caption is None else {CAPTION: caption})}
        if len(media) != 1:
            raise ValueError(
                f"a direction is of one medium, but the row holds {', '.join(media)}; name one by `fields`"
            )
        assert caption is not None
        (key, source), *_ = media.items()
        part = {"type": key, "media": source, CAPTION: caption}
        return captioned(part, caption, self.direction, random.Random(name).choice(self.prompts), self.reply)


def meta(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a row says of itself as a record: in its `json` file, or in its own columns."""
    if "json" not in row:
        return row
    said = json.loads(text_of(row["json"])) if not isinstance(row["json"], Mapping) else row["json"]
    return said if isinstance(said, Mapping) else {}


def first(row: Mapping[str, Any], columns: str | Sequence[str]) -> Any:
    """What the first column that the row has holds; `a.b` is `b` of the JSON in `a`, unless a column is called so."""
    for column in re.split(r"[;,]\s*", columns) if isinstance(columns, str) else columns:
        value = row.get(column)
        if value is None and "." in column:
            outer, _, inner = column.partition(".")
            value = None if row.get(outer) is None else meta({"json": row[outer]}).get(inner)
        if value is not None:
            return value
    return None


def text_of(value: Any) -> str:
    """A text column as text; a class is its number."""
    value = value.read() if isinstance(value, Piece) else value
    return value.decode() if isinstance(value, bytes) else str(value)


def medium(value: Any, key: str) -> Any:
    """What stands for a medium in a record: a path, bytes, a piece of a file, or a value of `anyx.media`."""
    if isinstance(value, list) and value and not isinstance(value[0], int | float | list):
        return [medium(item, key) for item in value]
    if isinstance(value, Mapping) and value.keys() <= {"bytes", "path"}:  # as `datasets` stores what it has not decoded
        return value["bytes"] if value.get("bytes") is not None else value.get("path")
    if isinstance(value, Picture):
        return Image.read(value)
    if isinstance(value, str | bytes | Piece | Media):
        return value
    return MEDIA[key].read(value) if key in MEDIA else value


def whole(given: Mapping[str, Any], row: Mapping[str, Any]) -> Record:
    """A row's own record, its media found among the row's columns."""
    made: Record = {name: given[name] for name in ("messages", "media", CAPTION) if given.get(name) is not None}
    if "media" in made and isinstance(made["media"], Mapping):
        found = {key: source for key, source in made["media"].items() if source is not None}
        made["media"] = {key: looked_up(source, key, row) for key, source in found.items()}
    if "messages" in made and isinstance(made["messages"], list):
        queues = {key: iter(held) for key, held in lists(row).items()}
        made["messages"] = [filled(message, row, queues) for message in made["messages"]]
    return made


def lists(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Columns of several media of a key, `images` or `image`, for parts of messages that name no file of their own."""
    named = {name.removesuffix("s"): value for name, value in row.items() if name.removesuffix("s") in MEDIA}
    return {key: value if isinstance(value, list) else [value] for key, value in named.items() if value is not None}


def filled(message: Any, row: Mapping[str, Any], queues: Mapping[str, Any]) -> Any:
    """A message whose parts hold their media; what a table's columns leave empty is left out."""
    if not isinstance(message, Mapping) or isinstance(message.get("content"), str):
        return message
    parts = []
    for part in parts_of(message):
        part = {name: value for name, value in part.items() if value is not None}
        key = part["type"]
        if key != "text":
            source = source_of(part)
            source = next(queues[key], None) if source is None and key in queues else source
            part = {name: value for name, value in part.items() if name not in (*LOCATIONS, key)}
            part |= {} if source is None else {"media": looked_up(source, key, row)}
        parts.append(part)
    return {**message, "content": parts}


def looked_up(source: Any, key: str, row: Mapping[str, Any]) -> Any:
    """What a record's name for a medium stands for: a file of the same sample, or what the name itself says."""
    if isinstance(source, list):
        return [looked_up(item, key, row) for item in source]
    if not isinstance(source, str):
        return medium(source, key)
    files = {value.name: value for value in row.values() if isinstance(value, Member)}
    if source in row and isinstance(row[source], Piece | bytes):
        return row[source]
    for name, member in files.items():
        if source in (name, name.rpartition("/")[2]):
            return member
    if files:
        raise MissingError(f"{source}: the sample holds no such file, but {', '.join(files)}")
    return source
