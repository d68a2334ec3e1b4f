"""Tables of Hugging Face `datasets`: local parquet and arrow files, and what `save_to_disk` wrote.

Rows are read as they are stored: pictures and sound stay the bytes they were, within the table, until a worker decodes
them as it does any file. Arrow files are mapped into memory; parquet is written as arrow once, in the library's cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any, overload

from anyx.data.columns import Columns, Fields
from anyx.data.sources import Record
from anyx.data.tars import expand
from anyx.data.turns import Direction
from anyx.data.webdataset import named, stored
from anyx.files import Cell

INSTALL = "type: huggingface reads tables by `datasets`, which is not installed: pip install 'datasets>=3'"


class HuggingFaceSource(Sequence[Record]):
    """Rows of `path`: parquet or arrow files (a name with braces or `*`, or a list), or a folder of `save_to_disk`.

    `split` names one of a folder of several. A row with `messages` (whose media may stand in a column `images`,
    `audios`, ... in their order) or `media` is a record; otherwise media and caption are in columns of usual names
    (`image`, `audio`, `video`; `caption`, `text`), or in those that `fields` names. `direction`, `prompts` and `reply`
    make dialogues of pairs, as in `captions`. Paths are looked up in `root` (default: the first file's folder).
    """

    def __init__(
        self,
        path: str | Sequence[str],
        *,
        split: str | None = None,
        fields: Fields | None = None,
        direction: Direction | None = None,
        prompts: Sequence[str] = (),
        reply: str = "",
        root: str | Path | None = None,
        limit: int | None = None,
    ) -> None:
        self.columns = Columns(fields, direction, prompts, reply)
        files = files_of(path)
        table = read_table(files, split)
        names = table.column_names
        wanted = [name for columns in (fields or {}).values() for name in _columns(columns)]
        strange = [name for name in wanted if name not in names and name.split(".")[0] not in names]
        if strange:
            raise ValueError(f"fields: there is no column {strange[0]!r}, but {', '.join(names)}")
        self.name, self.root = Path(files[0]).stem, Path(root) if root is not None else Path(files[0]).parent
        self.table = table.with_format("arrow")
        self.length = len(table) if limit is None else min(limit, len(table))

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """The record of one row; ValueError where it is none."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        place = index % len(self)
        row = stored(lambda: row_of(self.table[place]), f"{self.name}/{place}")
        return named(self.columns, f"{self.name}/{place}", row, self.root)


def row_of(table: Any) -> dict[str, Any]:
    """The one row of an arrow table; of its binary cells nothing is read yet."""
    return {name: lazy(table.column(name)[0], name) for name in table.column_names}


def lazy(scalar: Any, name: str) -> Any:
    """A cell as Python has it, except that bytes, wherever they stand in it, stay where they are."""
    import pyarrow

    if not scalar.is_valid or not binary(scalar.type):
        return scalar.as_py()
    if pyarrow.types.is_struct(scalar.type):
        return {field.name: lazy(scalar[field.name], name) for field in scalar.type}
    if pyarrow.types.is_list(scalar.type) or pyarrow.types.is_large_list(scalar.type):
        return [lazy(item, name) for item in scalar]
    return Cell(memoryview(scalar.as_buffer()), name)


@lru_cache(maxsize=1024)
def binary(kind: Any) -> bool:
    """Whether bytes stand somewhere in cells of a type that can be read lazily."""
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return any(binary(field.type) for field in kind)
    if pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        return binary(kind.value_type)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


def _columns(given: str | Sequence[str]) -> list[str]:
    return given.replace(";", ",").split(",") if isinstance(given, str) else list(given)


def files_of(path: str | Sequence[str]) -> list[str]:
    """The files that names with braces or `*` stand for, or the one folder."""
    given = [path] if isinstance(path, str | Path) else path
    found: list[str] = []
    for name in (name for pattern in given for name in expand(str(pattern))):
        files = [name] if Path(name).exists() else sorted(glob(name))
        if not files:
            raise ValueError(f"path: no such file: {name}")
        found += files
    return found


def read_table(files: Sequence[str], split: str | None) -> Any:
    """The rows of all files, as a `datasets.Dataset`."""
    try:
        import datasets
    except ImportError as error:
        raise ValueError(INSTALL) from error
    if folders := [file for file in files if Path(file).is_dir()]:
        if len(folders) < len(files):
            raise ValueError(f"path: files beside folders of `save_to_disk`; give one kind: {', '.join(files)}")
        return datasets.concatenate_datasets([split_of(datasets.load_from_disk(one), one, split) for one in folders])
    if split is not None:
        raise ValueError(f"split: {split!r} is given, but only a folder of `save_to_disk` holds splits")
    kinds = {Path(file).suffix for file in files}
    if kinds == {".parquet"}:
        return datasets.Dataset.from_parquet(list(files), keep_in_memory=False)
    if kinds == {".arrow"}:
        return datasets.concatenate_datasets([datasets.Dataset.from_file(file) for file in files])
    raise ValueError(f"path: files are .parquet or .arrow, all of one kind, but {', '.join(sorted(kinds))} were given")


def split_of(table: Any, folder: str, split: str | None) -> Any:
    """The named split of what a folder holds, or all of a folder without splits."""
    names = list(table) if isinstance(table, Mapping) else []
    if (split is not None or names) and split not in names:
        raise ValueError(f"split: {split!r} is not one of {', '.join(names) or 'none'}, which {folder} holds")
    return table if split is None else table[split]
