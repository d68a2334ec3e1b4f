"""Readers of other people's formats: LLaVA's conversations and caption pairs, as dialogues of Hugging Face messages.

`LlavaSource` reads the JSON list `{"id", "image": file or files, "conversations": [{"from", "value"}]}`, where
`<image>` in the text marks the place of each file; any further kind of media works the same way under its own name.
`CaptionSource` reads pairs of a file and its caption (JSON list, JSON lines, CSV or TSV) and asks for one from the
other.
"""

from __future__ import annotations

import csv
import json
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

from anyx.data.sources import Record, located

ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


class _Rows(Sequence[Record], ABC):
    """Rows of a table file, converted one at a time."""

    def __init__(self, path: str | Path, root: str | Path | None, limit: int | None) -> None:
        self.path = Path(path)
        self.rows = read_rows(self.path)[:limit]
        self.root = Path(root) if root is not None else self.path.parent

    @abstractmethod
    def convert(self, row: dict[str, Any], index: int) -> Record: ...

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
            return located({**self.convert(row, index), "id": name}, self.root)
        except ValueError as error:
            raise ValueError(f"{self.path}: row {index}: {error}") from error
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"{self.path}: row {index} is none that {type(self).__name__} reads: {error!r}") from error


class LlavaSource(_Rows):
    """LLaVA's JSON. `media` lists the row keys that hold files, each marked `<key>` in the text."""

    def __init__(
        self,
        path: str | Path,
        *,
        root: str | Path | None = None,
        media: Sequence[str] = ("image", "video", "audio"),
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.media = tuple(media)
        self.marks = re.compile(r"\s*<(" + "|".join(map(re.escape, self.media)) + r")>\s*")

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Lay each file where its mark stands; as many marks as files."""
        files = {key: [row[key]] if isinstance(row[key], str) else list(row[key]) for key in self.media if row.get(key)}
        left = {key: iter(names) for key, names in files.items()}
        messages, marks = [], 0
        for turn in row["conversations"]:
            if turn["from"] not in ROLES:
                raise ValueError(f"{turn['from']!r} is not one of {', '.join(ROLES)}")
            content: list[dict[str, Any]] = []
            for place, piece in enumerate(self.marks.split(turn["value"])):
                if place % 2:
                    marks += 1
                    content.append({"type": piece, "path": next(left.get(piece, iter(())), None)})
                elif piece:
                    content.append({"type": "text", "text": piece})
            messages.append({"role": ROLES[turn["from"]], "content": content})
        if marks != (held := sum(map(len, files.values()))):
            raise ValueError(f"{marks} marks but {held} files; each file has one mark")
        return {"messages": messages}


class CaptionSource(_Rows):
    """Pairs of a file and its caption.

    `key` is the model's name for the media, `file` and `caption` the columns (default of `file`: `<key>_name`,
    `<key>`, `path`, whichever a row has). With `direction` "in" the media are described, with "out" they are asked
    for.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        key: str,
        direction: Literal["in", "out"] = "in",
        file: str | None = None,
        caption: str = "caption",
        prompts: Sequence[str] = ("Describe this.",),
        reply: str = "",
        root: str | Path | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        if direction not in ("in", "out"):
            raise ValueError(f"direction: {direction!r} is not one of in, out")
        self.key, self.direction, self.file, self.caption = key, direction, file, caption
        self.prompts, self.reply = tuple(prompts), reply

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns; the prompt is chosen by the row's number. "{}" in a prompt for "out" stands for the caption."""
        columns = [self.file] if self.file else [f"{self.key}_name", self.key, "path"]
        name = next((row[column] for column in columns if row.get(column)), None)
        if name is None or not row.get(self.caption):
            raise ValueError(f"it needs {self.caption!r} and one of {', '.join(columns)}")
        part = {"type": self.key, "path": name, "caption": row[self.caption]}
        prompt = random.Random(index).choice(self.prompts)
        if self.direction == "in":
            ask: Any = [part, {"type": "text", "text": prompt}]
            answer: Any = row[self.caption]
        else:
            ask = prompt.replace("{}", row[self.caption]) if "{}" in prompt else row[self.caption]
            answer = [{"type": "text", "text": self.reply}, part] if self.reply else [part]
        return {"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}


def read_rows(path: Path) -> list[Any]:
    """The rows of a JSON list, CSV or TSV file; of JSON lines the unread lines, so that a bad one costs itself only."""
    if not path.is_file():
        raise ValueError(f"path: no such file: {path}")
    try:
        if path.suffix in (".csv", ".tsv"):
            with open(path, newline="", encoding="utf-8-sig") as file:
                return list(csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ","))
        if path.suffix != ".json":
            return [line for line in path.read_bytes().split(b"\n") if line.strip()]
        rows = json.loads(path.read_bytes())
    except (ValueError, csv.Error) as error:
        raise ValueError(f"path: {path} cannot be read: {error}") from error
    if not isinstance(rows, list):
        raise ValueError(f"path: {path}: a list of rows is needed, but a {type(rows).__name__} was found")
    return rows
