"""Reader of MIMIC-IT, Otter's instructions: three files that name each other.

    instructions  {"meta": ..., "data": {id: {"instruction", "answer", "image_ids": [...], "rel_ins_ids": [...]}}}
    images        {picture's id: base64}, of which only the places are kept
    train         {id: [ids of the examples before it]}

Of the pictures' two published forms JSON is read; a parquet file is to be written as JSON first.
"""

from __future__ import annotations

import base64
import json
import mmap
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record, unpacked
from anyx.data.turns import Part, message
from anyx.signatures import Least

PICTURE = re.compile(rb'"([^"\\]+)"\s*:\s*"([A-Za-z0-9+/=_\\-]*)"')  # of backslashes those before / are no fault


class MimicSource(Rows):
    """An instruction with `shots` examples before it at most, each with its own pictures in front (several are frames).

    Without `train` all instructions are read, and their `rel_ins_ids` are the examples. With `unpack` pictures are
    written to that folder and named by their path, as `anyx data convert` needs them. `key` is the model's name for
    them.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        images: str | Path,
        train: str | Path | None = None,
        shots: Annotated[int, Least(0)] | None = None,
        key: str = "image",
        unpack: str | Path | None = None,
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        self.known: Mapping[str, Any] = loaded(path).get("data", {})
        if not isinstance(self.known, Mapping):
            raise ValueError(f"path: {path}: 'data' is a mapping of ids to instructions")
        wanted = loaded(train) if train else {name: None for name in self.known}
        super().__init__(path, root, limit, [{"id": name, "before": before} for name, before in wanted.items()])
        self.pictures = Pictures(images)
        self.shots, self.key, self.unpack = shots, key, Path(unpack) if unpack else None

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns for each example, and two for the instruction."""
        asked = self._found(row["id"])
        before = asked.get("rel_ins_ids") or [] if row["before"] is None else row["before"]
        items = [*(self._found(name) for name in before[: self.shots]), asked]
        return {"messages": [turn for item in items for turn in self._turns(item)]}

    def _found(self, name: str) -> Mapping[str, Any]:
        if name not in self.known:
            raise ValueError(f"there is no instruction {name!r}")
        found: Mapping[str, Any] = self.known[name]
        return found

    def _turns(self, item: Mapping[str, Any]) -> list[dict[str, Any]]:
        shown = [self._part(name) for name in item["image_ids"]]
        return [message("user", [*shown, item["instruction"]]), message("assistant", [item["answer"]])]

    def _part(self, name: str) -> Part:
        data = self.pictures[name]
        if self.unpack is None:
            return {"type": self.key, "media": data}
        if Path(name).name != name:
            raise ValueError(f"the picture {name!r} has no name for a file")
        file = self.unpack / f"{name}.jpg"  # whatever it holds: readers look at the content
        if not file.exists():
            self.unpack.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return self.part(self.key, str(file.absolute()))


class Pictures:
    """A JSON file `{id: base64}`, read one picture at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.suffix != ".json" or not self.path.is_file() or not self.path.stat().st_size:
            raise ValueError(f"images: {path} is no .json file of pictures in base64")
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            self.places = {found[1].decode(): found.span(2) for found in PICTURE.finditer(data)}

    def __getitem__(self, name: str) -> bytes:
        """The bytes of a picture; what is not there, or is no base64, is a ValueError."""
        if name not in self.places:
            raise ValueError(f"{self.path} has no picture {name!r}")
        start, end = self.places[name]
        with open(self.path, "rb") as file:
            file.seek(start)
            text = file.read(end - start).replace(b"\\/", b"/")
        return base64.b64decode(text.translate(bytes.maketrans(b"-_", b"+/")), validate=True)


def loaded(path: str | Path) -> dict[str, Any]:
    """A JSON file that holds a mapping."""
    if not Path(path).is_file():
        raise ValueError(f"path: no such file: {path}")
    try:
        found = json.loads(unpacked(Path(path)))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"path: {path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"path: {path}: a mapping is needed, but a {type(found).__name__} was found")
    return found
