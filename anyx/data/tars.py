"""Where the samples of a tar shard lie: an index, built once from its headers and kept in the user's cache.

In WebDataset's form a sample is a run of files that share a name up to the first dot after the last slash; the rest of
the name, in small letters, says what each file is. The index is a table of files, memory-mapped when it is used, so
that a set of any size costs a process no memory to speak of, and its workers share what there is. It is known by the
shard's path, size and time, and built anew when one of them changes.
"""

from __future__ import annotations

import bisect
import logging
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyx.data.cache import digest
from anyx.data.tar import BROKEN, CUT, members
from anyx.durable import replacing
from anyx.faults import EmptyError, MediaError, TruncatedError
from anyx.files import Member

FORM = 1  # of the index: another number makes the old ones strangers
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")
log = logging.getLogger("anyx")
Table = NDArray[Any]


def expand(pattern: str) -> list[str]:
    """The names that braces stand for: `{000..123}` counts, as wide as it is written; `{a,b}` lists."""
    match = BRACES.search(pattern)
    if match is None:
        return [pattern]
    inner, span = match.group(1), RANGE.fullmatch(match.group(1))
    if span:
        first, last = int(span.group(1)), int(span.group(2))
        width = len(span.group(1)) if span.group(1).startswith("0") else 0
        step = 1 if first <= last else -1
        words = [f"{count:0{width}d}" for count in range(first, last + step, step)]
    else:
        words = inner.split(",")
    before, after = pattern[: match.start()], pattern[match.end() :]
    return [name for word in words for name in expand(f"{before}{word}{after}")]


def shards_of(patterns: str | Path | Sequence[str]) -> list[str]:
    """The files that names with braces, `*`, `?` or a folder stand for, in order; one that is not there is an error."""
    given = [str(patterns)] if isinstance(patterns, str | Path) else [str(pattern) for pattern in patterns]
    found: list[str] = []
    for name in (name for pattern in given for name in expand(pattern)):
        wild = os.path.join(name, "*.tar") if os.path.isdir(name) else name
        files = [wild] if os.path.isfile(wild) else sorted(glob(wild))
        if not files:
            raise ValueError(f"path: no such shard: {wild}")
        found += files
    return found


def index_of(shard: str, folder: Path) -> str:
    """The file in `folder` that holds the shard's index, made if it is not there."""
    status = os.stat(shard)
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    path = folder / f"{digest(os.path.realpath(shard), *stamp, FORM)}.npy"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        table = scan(shard)
        with replacing(path) as part, open(part, "wb") as file:
            np.save(file, table)
    return str(path)


def scan(shard: str) -> Table:
    """The shard's files, one a row: number of the sample, place, size, name.

    Where the shard is cut off, its last sample has a row more, of size `CUT` or `BROKEN`: reading it is an error. What
    lacks in it nobody can know.
    """
    samples, offsets, sizes, names = array("q"), array("q"), array("q"), list[bytes]()
    sample, last = -1, None
    for stored, offset, size in members(shard):
        name = stored.removeprefix("./")  # as `tar -C folder .` writes them
        key = key_of(name)[0] if name else last
        if size >= 0 and (name.startswith((".", "__")) or "/." in name):
            continue  # what file managers leave, and WebDataset's own notes
        if key != last or sample < 0:
            sample, last = sample + 1, key
        samples.append(sample)
        offsets.append(offset)
        sizes.append(size)
        names.append(name.encode("utf-8", "surrogateescape"))
    width = max(map(len, names), default=1) or 1
    table = np.empty(len(names), [("sample", "<i8"), ("offset", "<i8"), ("size", "<i8"), ("name", f"S{width}")])
    for column, values in (("sample", samples), ("offset", offsets), ("size", sizes), ("name", names)):
        table[column] = values
    return table


@lru_cache(maxsize=256)
def opened(index: str) -> Table:
    """An index, memory-mapped."""
    table: Table = np.load(index, mmap_mode="r" if os.path.getsize(index) > 1 << 16 else None)
    return table


def key_of(name: str) -> tuple[str, str]:
    """`a.b/fox.seg.PNG` -> `a.b/fox`, `seg.png`."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


class Shards:
    """The samples of several shards: key, and what each file of a sample is -> where it lies."""

    def __init__(self, paths: Sequence[str], folder: Path) -> None:
        self.paths = list(paths)
        self.indices = [index_of(path, folder) for path in self.noted(paths)]
        tables = map(opened, self.indices)
        counts = [int(table["sample"][-1]) + 1 if len(table) else 0 for table in tables]
        self.spans = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def noted(self, paths: Sequence[str]) -> Iterable[str]:
        """The paths, with a word where there are many."""
        if len(paths) > 1:
            log.info("%d shards: their indices are read, or built once", len(paths))
        return paths

    def __len__(self) -> int:
        return int(self.spans[-1])

    def sample(self, index: int) -> tuple[str, dict[str, Member]]:
        """The files of one sample; `TruncatedError` of one that is cut off."""
        shard = int(np.searchsorted(self.spans, index, "right")) - 1
        path, sample = self.paths[shard], index - int(self.spans[shard])
        found: dict[str, Member] = {}
        key = ""
        for _, offset, size, name in rows(opened(self.indices[shard]), sample):
            if size < 0:
                raise broken(path, offset, size, key or key_of(name)[0])
            key, extension = key_of(name)
            if extension in found:
                raise MediaError(f"{path}: {key}: two files of the sample are called .{extension}")
            found[extension] = Member(path, offset, size, name)
        return key, found


def rows(table: Table, sample: int) -> Iterator[tuple[int, int, int, str]]:
    """The rows of one sample."""
    samples = table["sample"]
    for row in range(bisect.bisect_left(samples, sample), len(table)):
        number, offset, size, name = table[row].item()
        if number != sample:
            return
        yield number, offset, size, name.decode("utf-8", "surrogateescape")


def broken(path: str, offset: int, size: int, key: str) -> MediaError:
    """What is wrong with the last sample of a shard."""
    if not os.path.getsize(path):
        return EmptyError(f"{path}: the shard holds 0 bytes")
    named = f" in {key}" if key else ""
    if size == CUT:
        return TruncatedError(f"{path}: the shard is truncated{named}, at byte {offset:,}; what came after is lost")
    assert size == BROKEN
    return MediaError(f"{path}: no tar header{named} at byte {offset:,}; what comes after cannot be read")
