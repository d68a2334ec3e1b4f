"""Folders that LitData's `optimize` wrote, read map-style: an optional backend, through the package `litdata`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from anyx.data.columns import Columns, Fields
from anyx.data.sources import Record
from anyx.data.turns import Direction
from anyx.data.webdataset import named, stored

INSTALL = "type: litdata reads folders by `litdata`, which is not installed: pip install 'litdata>=0.2.30'"


class LitDataSource(Sequence[Record]):
    """The items of an optimised folder, each a mapping of columns: `messages` or `media`, or a pair's, by `fields`.

    Media are bytes, pictures, tensors or paths (looked up in `root`, default: the folder). `direction`, `prompts` and
    `reply` make dialogues of pairs, as in `captions`.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fields: Fields | None = None,
        direction: Direction | None = None,
        prompts: Sequence[str] = (),
        reply: str = "",
        root: str | Path | None = None,
        limit: int | None = None,
    ) -> None:
        self.path = Path(path)
        if not (self.path / "index.json").is_file():
            raise ValueError(f"path: {self.path} is no folder of `litdata.optimize`: it has no index.json")
        self.columns, self.root = Columns(fields, direction, prompts, reply), Path(root) if root else self.path
        self.items = opened(self.path)
        chunks = json.loads((self.path / "index.json").read_text())["chunks"]
        count = sum(int(chunk["chunk_size"]) for chunk in chunks)  # its own length is one process's share
        self.length = count if limit is None else min(limit, count)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "items": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self.items = opened(self.path)

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """The record of one item; ValueError where it is none."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        place = index % len(self)
        row = stored(lambda: self.items[place], f"{self.path.name}/{place}")
        if not isinstance(row, Mapping):
            raise ValueError(f"{self.path.name}/{place}: an item is a mapping of columns, but {type(row).__name__}")
        return named(self.columns, f"{self.path.name}/{place}", dict(row), self.root)


def opened(path: Path) -> Any:
    """LitData's own reader of a folder."""
    try:
        from litdata import StreamingDataset
    except ImportError as error:
        raise ValueError(INSTALL) from error
    return StreamingDataset(str(path), shuffle=False, drop_last=False)
