"""Tar shards in WebDataset's form, read map-style: every sample has a number, and is read where it lies.

An index of the shards (`anyx/data/tars.py`) makes them a source like any other, with exact positions and no extra
copies: what a record holds of media are pieces of its shard, which a worker reads when it decodes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from anyx.data.columns import Columns, Fields
from anyx.data.sources import UNREADABLE, Record
from anyx.data.tars import Shards, shards_of
from anyx.data.turns import Direction
from anyx.faults import MediaError
from anyx.packaged import home


class WebDatasetSource(Sequence[Record]):
    """The samples of shards, `shards/{00000..00123}.tar`, `shards/*.tar`, a folder of them, or a list of these.

    A sample's `json` with `messages` or `media` is the record, and names the sample's files by name or extension.
    Otherwise media are known by their extensions, and the caption is `txt`, or what `json` has as `caption`; `fields`
    says it otherwise (`{image: jpg;png, caption: txt}`). `direction` ("in", "out"), `prompts` and `reply` make
    dialogues of pairs, as in `captions`. Where there are more than `window` shards, an epoch goes through them in a
    seeded order and mixes that many at a time, so that a disk reads on. `index` is the folder of the indices (default:
    in the user's cache), `limit` ends the source after so many samples.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        *,
        fields: Fields | None = None,
        direction: Direction | None = None,
        prompts: Sequence[str] = (),
        reply: str = "",
        window: int = 16,
        limit: int | None = None,
        index: str | Path | None = None,
    ) -> None:
        if window < 1:
            raise ValueError(f"window: >= 1 shards are mixed at a time, but {window} was given")
        self.columns = Columns(fields, direction, prompts, reply)
        self.shards = Shards(shards_of(path), Path(index) if index is not None else home() / "shards")
        self.window = window
        self.spans = self.shards.spans if limit is None else np.unique(self.shards.spans.clip(max=limit))

    def __len__(self) -> int:
        return int(self.spans[-1])

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """The record of one sample; ValueError, of its fault's class, where it is none."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        name, files = self.shards.sample(index % len(self))
        return named(self.columns, name, files)


def named(columns: Columns, name: str, row: dict[str, Any], root: Path = Path()) -> Record:
    """The record of a row; what is wrong with it names it."""
    try:
        return columns.record(name, row, root)
    except MediaError as error:
        raise type(error)(f"{name}: {error}") from error
    except (*UNREADABLE, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from error


def stored(read: Callable[[], Any], name: str) -> Any:
    """What a library reads of its own files; whatever it raises of a broken one is a fault of that row alone."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception as error:
        raise MediaError(f"{name}: it cannot be read: {error}") from error
