"""Sources: map-style sequences of records, and the nodes of a YAML's `data:` that name them.

A record is a plain dictionary in one of two forms. A dialogue is `{"id": ..., "messages": [...]}` in the Hugging Face
chat form, the native format. A pair, for stages without an LLM, is `{"id": ..., "media": {key: source}, "caption":
...}`. Media stay paths until a worker of the loader reads them. A further format is a further class: a sequence built
from plain keyword arguments, named in `SOURCES` or given as `type: my_pkg.my_data:MySource`.

A node says more than its type: `augment: "module:function"` (or `"file.py:function"`) names `function(key, media,
generator) -> media`, which a worker calls on each item of media with a seeded generator; `variants: n` draws from n
augmented copies of an item, so that they can be encoded once. 0 is without end: never the same copy twice, and nothing
encoded once. It is the default where something augments, and where a record lists several files for one thing, of
which the variant draws one: with 1, the default of all others, that would ever be the same. To have such files encoded
once, say `variants`, a few times as many as a record lists.
"""

from __future__ import annotations

import gzip
import inspect
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast, overload

import torch

from anyx.data.code import identity_of
from anyx.faults import Limits
from anyx.imports import find
from anyx.interfaces import Media
from anyx.processor import LOCATIONS, source_of
from anyx.prompt import parts_of

Record = dict[str, Any]
Augment = Callable[[str, Media, torch.Generator], Media]

LOOKED_AT = 100  # records, to see of what kind they are
SOURCES = {
    "jsonl": "anyx.data.sources:JSONLSource",
    "llava": "anyx.data.formats:LlavaSource",
    "llava_plus": "anyx.data.llava_plus:LlavaPlusSource",
    "captions": "anyx.data.formats:CaptionSource",
    "alpaca": "anyx.data.instruct:AlpacaSource",
    "videochat": "anyx.data.instruct:VideoChatSource",
    "nextgpt_pairs": "anyx.data.nextgpt:PairSource",
    "t2m": "anyx.data.nextgpt:ConversationSource",
    "mosit": "anyx.data.nextgpt:MositSource",
    "minigpt4": "anyx.data.regions:AlignedSource",
    "refer": "anyx.data.regions:ReferSource",
    "genome": "anyx.data.regions:GenomeSource",
    "grounded": "anyx.data.regions:GroundedSource",
    "answers": "anyx.data.regions:AnswerSource",
    "nextgpt_v2": "anyx.data.nextgpt:MarkedSource",
    "mimic_it": "anyx.data.mimic:MimicSource",
    "mplug_owl": "anyx.data.interleaved:OwlSource",
    "mmc4": "anyx.data.interleaved:MMC4Source",
    "cogvlm": "anyx.data.dialects:CogSource",
    "qwen_vl": "anyx.data.dialects:QwenSource",
    "lamm": "anyx.data.dialects:LammSource",
    "macaw": "anyx.data.dialects:MacawSource",
    "webdataset": "anyx.data.webdataset:WebDatasetSource",
    "huggingface": "anyx.data.huggingface:HuggingFaceSource",
    "litdata": "anyx.data.litdata:LitDataSource",
}
UNREADABLE = (ValueError, OSError, KeyError)  # what a bad record or file raises: it is skipped, the run goes on


class JSONLSource(Sequence[Record]):
    """One JSON record a line, in a file that may be gzipped (`.jsonl.gz`).

    Relative media paths are looked up in `root` (default: the file's folder). `media` keeps the records whose media are
    all of these types, so that a model which reads some of a corpus need not have a copy of it.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        root: str | Path | None = None,
        limit: int | None = None,
        media: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise ValueError(f"path: no such file: {self.path}")
        self.root = Path(root) if root is not None else self.path.parent
        self.name = self.path.name.removesuffix(".gz").removesuffix(".jsonl")
        lines = [line for line in unpacked(self.path).splitlines() if line.strip()]
        kept = lines if media is None else [line for line in lines if kinds_in(line) <= set(media)]
        self.lines = kept[:limit]

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """The record of one line; a line that is no record is a ValueError, which the loader counts."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        try:
            return {"id": f"{self.name}/{index}", **located(json.loads(self.lines[index]), self.root)}
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.path}: record {index}: {error}") from error


def unpacked(path: Path) -> bytes:
    """What a file holds, unzipped if its name ends in `.gz`."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"path: {path} cannot be read: {error}") from error


def kinds_in(line: bytes) -> set[str]:
    """The types of media in one line's record; none where it cannot be read, which the loader is to count."""
    try:
        record = located(json.loads(line), Path())
        parts = [part for message in record.get("messages", ()) for part in parts_of(message)]
    except UNREADABLE:
        return set()
    return {part["type"] for part in parts} - {"text"} | set(record.get("media", ()))


def located(record: Any, root: Path) -> Record:
    """The record with its relative media paths joined to `root`; what has not the shape of one is a ValueError."""

    def locate(source: Any) -> Any:
        if isinstance(source, list):
            return [locate(item) for item in source]
        return str(root / source) if isinstance(source, str) else source

    if not isinstance(record, Mapping) or not {"messages", "media"} & record.keys():
        raise ValueError("it has neither 'messages' nor 'media'")
    check_texts(record)
    found = dict(record)
    if "media" in found:
        if not isinstance(found["media"], Mapping) or [] in found["media"].values():
            raise ValueError(f"media: {found['media']!r} is no mapping of keys to a source or sources")
        found["media"] = {key: locate(source) for key, source in found["media"].items()}
    if "messages" in found:
        if not isinstance(found["messages"], list):
            raise ValueError(f"messages: {found['messages']!r} is no list")
        found["messages"] = [located_message(message, locate) for message in found["messages"]]
    return found


def located_message(message: Any, locate: Callable[[Any], Any]) -> dict[str, Any]:
    """The message with its media's sources changed, checked as far as readers rely on."""
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise ValueError(f'messages: each is a mapping with a "role", but {message!r} was given')
    parts = parts_of(message)
    for part in parts:
        check_texts(part)
    if isinstance(message["content"], str):
        return dict(message)
    return {**message, "content": [part if part["type"] == "text" else relocated(part, locate) for part in parts]}


def check_texts(given: Mapping[str, Any]) -> None:
    """Refuse a text or caption that is no string, or that holds half a character, which no tokenizer takes."""
    for name in ("text", "caption"):
        if not isinstance(given.get(name), str | None):
            raise ValueError(f"{name}: a string is needed, but {given[name]!r} was given")
        (given.get(name) or "").encode()


def relocated(part: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """The part of a message with its media's source changed; a part that names none is left as it is."""
    return {key: change(value) if key in (*LOCATIONS, part["type"]) else value for key, value in part.items()}


@dataclass(frozen=True)
class Feed:
    """A source with the name it has in the YAML and what is drawn from it."""

    name: str
    source: Sequence[Record]
    augment: Augment | None = None
    variants: int = 1
    limits: Limits = field(default_factory=Limits)

    @property
    def identity(self) -> str:
        """What the augmentation is: a text that changes when its code does."""
        return identity_of(self.augment) if self.augment else ""


def feed(name: str, node: Mapping[str, Any]) -> Feed:
    """Build a node of `data:`; errors name the YAML's key."""
    options = dict(node)
    kind, augment = str(options.pop("type", "jsonl")), options.pop("augment", None)
    variants, limits = options.pop("variants", None), limits_of(options.pop("limits", None) or {}, f"data.{name}")
    if kind not in SOURCES and ":" not in kind:
        raise ValueError(f"data.{name}.type: {kind!r} is not one of {', '.join(SOURCES)} (or 'module:Class')")
    cls = find(SOURCES.get(kind, kind), f"data.{name}.type")
    allowed = inspect.signature(cls).parameters
    for option in options:
        if option not in allowed:
            raise ValueError(f"data.{name}.{option}: {kind!r} takes {', '.join(allowed)}, augment, variants, limits")
    try:
        source = cast(Sequence[Record], cls(**options))
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"data.{name}: {error}") from error
    if not len(source):
        raise ValueError(f"data.{name}: the source holds no records")
    if variants is None:
        variants = 0 if augment or lists_several(source) else 1
    return Feed(name, source, find(augment, f"data.{name}.augment") if augment else None, int(variants), limits)


def limits_of(given: Mapping[str, Any], path: str) -> Limits:
    """The limits that a node of `data:` sets; errors name its key."""
    allowed = [one.name for one in fields(Limits)]
    if strange := [name for name in given if name not in allowed]:
        raise ValueError(f"{path}.limits: {strange[0]!r} is not one of {', '.join(allowed)}")
    try:
        return Limits(**given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def lists_several(source: Sequence[Record]) -> bool:
    """Whether one of the first records names several files for one thing."""
    for index in range(min(len(source), LOOKED_AT)):
        try:
            record = source[index]
            found = list(dict(record.get("media", {})).values())
            parts = [part for message in record.get("messages", ()) for part in parts_of(message)]
        except UNREADABLE:
            continue  # the loader will count it
        found += [source_of(part) for part in parts if part["type"] != "text"]
        if any(isinstance(files, list) for files in found):
            return True
    return False
