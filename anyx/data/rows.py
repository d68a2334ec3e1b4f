"""Rows of other people's files, turned into dialogues one at a time: what every reader of a format is built on.

A reader is a final class that derives from `Rows` and says in `convert` what one row means. Of JSON lists, JSON lines
and gzipped ones the rows are kept as they are written and decoded when asked for, so that millions cost little more
than their file, and a worker's copy of them nothing. A row that cannot be read is a ValueError of that row alone: the
loader skips and counts it.
"""

from __future__ import annotations

import csv
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from anyx.data.sources import Record, located, unpacked

Root = str | Path | Mapping[str, str] | None  # one folder of media, or one for each key
SPACE = re.compile(r"[ \t\n\r]*")


class Rows(Sequence[Record], ABC):
    """Rows of a table file, converted one at a time.

    Relative media paths are looked up in `root`, which may be a folder for each key (default: the file's folder).
    `rows` are those of a file of another form.
    """

    def __init__(self, path: str | Path, root: Root, limit: int | None, rows: list[Any] | None = None) -> None:
        self.path = Path(path)
        self.rows = (read_rows(self.path) if rows is None else rows)[:limit]
        self.folders = {key: Path(folder) for key, folder in root.items()} if isinstance(root, Mapping) else {}
        self.root = self.path.parent if root is None or isinstance(root, Mapping) else Path(root)

    @abstractmethod
    def convert(self, row: dict[str, Any], index: int) -> Record:
        """The dialogue of a row; ValueError, or an error of a type, a place or a number, where it is none."""
        ...

    def part(self, key: str, name: str | None, caption: str | None = None) -> dict[str, Any]:
        """A medium of a message, in the folder of its key; without a name it has a caption only."""
        if not isinstance(name, str | None):
            raise ValueError(f"{key}: a file name is needed, but {name!r} was given")
        part = {"type": key} | ({"caption": caption} if caption else {})
        if not name:
            return part
        return part | {"path": str((self.folders[key] / name).absolute()) if key in self.folders else name}

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """The dialogue of one row."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self.rows[index]
        try:
            row = json.loads(row) if isinstance(row, bytes) else row
            name = str(row.get("id", f"{self.path.stem}/{index}"))
            record = {"id": name, **self.convert(row, index)}
            if not any(message["role"] == "assistant" for message in record["messages"]):
                raise ValueError("nobody answers, so there is nothing to learn")
            return located(record, self.root)
        except ValueError as error:
            raise ValueError(f"{self.path}: row {index}: {error}") from error
        except (TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
            raise ValueError(f"{self.path}: row {index} is none that {type(self).__name__} reads: {error!r}") from error


def read_rows(path: Path) -> list[Any]:
    """The rows of a JSON list, CSV or TSV file; of JSON the undecoded text, so that a bad one costs itself only."""
    if not path.is_file():
        raise ValueError(f"path: no such file: {path}")
    try:
        if path.suffix in (".csv", ".tsv"):
            with open(path, newline="", encoding="utf-8-sig") as file:
                return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
        if Path(path.name.removesuffix(".gz")).suffix != ".json":
            return [line for line in unpacked(path).split(b"\n") if line.strip()]
        text = unpacked(path).decode("utf-8-sig")
        begin = _skip(text, 0)
        if text[begin : begin + 1] == "[":
            return [item.encode() for item in items(text, begin + 1)]
        found = type(json.loads(text)).__name__
    except (ValueError, csv.Error, RecursionError) as error:
        raise ValueError(f"path: {path} cannot be read: {error}") from error
    raise ValueError(f"path: {path}: a list of rows is needed, but a {found} was found")


def items(text: str, place: int) -> Iterator[str]:
    """The items of a JSON list as they are written, each checked and none kept; `place` is where the first may be."""
    decode = json.JSONDecoder().raw_decode
    place = _skip(text, place)
    if text[place : place + 1] != "]":
        while True:
            _, end = decode(text, place)
            yield text[place:end]
            place = _skip(text, end)
            if text[place : place + 1] != ",":
                break
            place = _skip(text, place + 1)
    if text[place : place + 1] != "]":
        raise json.JSONDecodeError("Expecting ',' or ']'", text, place)
    if _skip(text, place + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, place + 1)


def _skip(text: str, place: int) -> int:
    """Where the next character stands that is no white space."""
    match = SPACE.match(text, place)
    assert match is not None
    return match.end()
