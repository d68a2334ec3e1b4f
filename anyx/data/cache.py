"""A content-addressed store of tensors: what frozen components computed once.

A key is a digest of everything the value depends on: the media's bytes (or the caption), the augmented copy, the
transform, and the component with its settings and weights. A changed weight is another key, so the cache is never
wrong, only colder. Values are small named tensors, written in shards (`shards.py`) that are never changed, and found
by an index (`index.py`) that costs the same to open however many there are. Stages, runs, processes and users may
share a folder: what others write is seen at once, or where their index is not ours, after `refresh`. A shard that was
cut short is removed, and what it held is computed again.

A cache can be pickled into workers, spawned or forked: each opens the files anew.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import re
import sqlite3
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from anyx.data import shards
from anyx.data.digests import digest, media_digest
from anyx.data.index import NAME, Index, Stamp, discard
from anyx.data.shards import SUFFIX, DamagedError, Note, Value

__all__ = ["FeatureCache", "Value", "digest", "media_digest"]

OPEN = 256  # shards that a process has open at a time
OURS = re.compile(r"[0-9a-f]{24}" + re.escape(SUFFIX))  # the names that shards are given
FRESH = 2 * 10**9  # nanoseconds
AT_ONCE = 256  # shards that the index takes in at a time
NOTHING: Mapping[str, tuple[Stamp, shards.Contents]] = {}
Answer = TypeVar("Answer")
log = logging.getLogger("anyx")


class FeatureCache:
    """Digest -> named tensors, kept in a folder, which is made if it is not there.

    A folder that cannot be written to can be read: where it has no index of what it holds, one is made elsewhere.
    """

    def __init__(self, folder: str | Path, *, read_only: bool = False) -> None:
        self.folder = Path(folder)
        if not read_only:
            self.folder.mkdir(parents=True, exist_ok=True)
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is no folder")
        self.file = self.folder / NAME
        self.writable = not read_only and all(os.access(x, os.W_OK) for x in (self.folder, self.file) if x.exists())
        self._elsewhere: tempfile.TemporaryDirectory[str] | None = None
        self._fresh()
        self.refresh()

    def _fresh(self) -> None:
        self._index: Index | None = None
        self._process = os.getpid()
        self._open: OrderedDict[str, int] = OrderedDict()
        self._files: dict[str, tuple[Stamp, str]] = {}  # digests of files that are to be noted

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "writable": self.writable, "file": self.file}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state | {"_elsewhere": None}
        self._fresh()

    def __del__(self) -> None:
        if "_open" in vars(self) and self._process == os.getpid():
            self.close()

    def close(self) -> None:
        """Let go of the files; they are opened again when they are needed."""
        while self._open:
            os.close(self._open.popitem()[1])
        if self._index is not None:
            self._index.close()
        self._index = None

    def __len__(self) -> int:
        return self.ask(lambda index: len(index))

    def __iter__(self) -> Iterator[str]:
        return self.ask(lambda index: iter(index))

    def __contains__(self, digest: str) -> bool:
        return self.ask(lambda index: index.holds(digest))

    def __getitem__(self, digest: str) -> Value:
        found = self.ask(lambda index: index.find(digest))
        if found is None:
            raise KeyError(digest)
        name, layout, places = found
        try:
            return shards.value(self._opened(name), layout, places)
        except (FileNotFoundError, DamagedError) as error:  # it was cut short or removed while we look
            log.warning("%s: %s; what it held will be computed again", self.folder / name, error)
            self.drop([name])
            raise KeyError(digest) from error

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those that are not here, each once, in order."""
        wanted = dict.fromkeys(digests)
        held = self.ask(lambda index: index.held(wanted))
        return [digest for digest in wanted if digest not in held]

    def put(self, values: Mapping[str, Mapping[str, Tensor]], *, maker: str = "", kind: str = "") -> None:
        """Write a shard of values that one component (the digest `maker`) computed, of a kind such as "features"."""
        self.replace([], values, Note(maker, kind))

    def replace(self, names: Iterable[str], values: Mapping[str, Mapping[str, Tensor]], note: Note) -> None:
        """Write a shard of values in the place of others, which are removed; without values nothing is written."""
        if not self.writable:
            raise ValueError(f"{self.folder} cannot be written to; name another folder by ANYX_HOME, or fill it first")
        gone, found = list(names), {}
        if values:
            path = shards.write(self.folder, values, note)
            found = {path.name: (stamp_of(path), shards.contents(path))}
        gone = [name for name in gone if name not in found]
        self._change(gone, found)
        for name in gone:
            self._unlink(name)

    def refresh(self) -> None:
        """Look again at the folder: take in shards that the index does not know, forget those that are gone.

        Shards that were cut short are removed. Reads the headers of what is new, and no other file.
        """
        self._note()
        known = self.ask(lambda index: index.stamps())  # first: others may write meanwhile
        here = dict(self._listed())
        gone = [name for name in known if name not in here]
        new = [name for name, stamp in here.items() if known.get(name) != stamp]
        if not (gone or new):
            return
        if not self.writable and self._elsewhere is None:
            self._apart()
            self.refresh()
            return
        self._change(gone)
        for start in range(0, len(new), AT_ONCE):
            found, lost = {}, []
            for name in new[start : start + AT_ONCE]:
                try:
                    found[name] = here[name], shards.contents(self.folder / name)
                except (FileNotFoundError, DamagedError) as error:
                    lost.append(name)
                    if isinstance(error, DamagedError):
                        log.warning("%s; what it held will be computed again", error)
                        self._unlink(name)
            self._change(lost, found)

    def _change(self, names: Sequence[str], found: Mapping[str, tuple[Stamp, shards.Contents]] = NOTHING) -> None:
        if names or found:
            self.ask(lambda index: index.change(found, names))

    def drop(self, names: Iterable[str]) -> None:
        """Remove shards."""
        names = list(names)
        for name in names:
            self._unlink(name)
        if self.writable or self._elsewhere is not None:
            self._change(names)

    def rebuild(self) -> None:
        """Make the index again from the shards; other processes go on meanwhile."""
        if self.writable or self._elsewhere is not None:
            self.ask(lambda index: index.clear())
        self.refresh()

    def media_digest(self, source: Any) -> str:
        """`media_digest`; of a file that was read before, in this run or another, without reading it again."""
        if not isinstance(source, str | Path):
            return media_digest(source)
        path, stamp = os.path.abspath(source), stamp_of(Path(source))
        if path in self._files and self._files[path][0] == stamp:
            return self._files[path][1]
        found = self.ask(lambda index: index.file(path, stamp))
        if found is None:
            found = media_digest(source)
            if time.time_ns() - stamp.change > FRESH:  # a younger one may change again within a tick of the clock
                self._files[path] = stamp, found
            if len(self._files) >= 1 << 10:
                self._note()
        return found

    def _note(self) -> None:
        """Note digests of files for later runs, where there is room to; by one process, its workers only read."""
        noted, self._files = self._files, {}
        if noted and self.writable and multiprocessing.parent_process() is None:
            self.ask(lambda index: index.note(noted))

    def ask(self, question: Callable[[Index], Answer]) -> Answer:
        """Ask the index; one that turns out to be broken is made again from the shards first."""
        if self._process != os.getpid():  # forked: nothing open may be shared
            self._fresh()
        try:
            return question(self._connected())
        except sqlite3.OperationalError as error:
            return self._again(question, error)
        except sqlite3.DatabaseError as error:
            log.warning("%s: %s; it is made again", self.file, error)
            self.close()
            if not (self.writable or self._elsewhere is not None):
                self._apart()
            discard(self.file)
            self._connected()
            self.refresh()
            return question(self._connected())

    def _again(self, question: Callable[[Index], Answer], error: sqlite3.OperationalError) -> Answer:
        """Ask once more, of the file that is there now: another process may have put a new one in its place.

        Where it cannot be read without writing (a killed process left it half changed), of an index of our own.
        """
        try:
            self.close()
            if not self.writable and self._elsewhere is None:
                self._apart()
                self.refresh()
            return question(self._connected())
        except sqlite3.Error:
            raise OSError(f"{self.file} cannot be used: {error}") from error

    def _connected(self) -> Index:
        if self._index is None:
            own = self._elsewhere is not None
            if not (self.writable or own) and not self.file.is_file():
                self._apart()
            self._index = Index(self.file, writable=self.writable or self._elsewhere is not None)
        return self._index

    def _apart(self) -> None:
        """Have an index of our own, for as long as this process lives."""
        self.close()
        self._elsewhere = tempfile.TemporaryDirectory(prefix="anyx-index-")
        self.file = Path(self._elsewhere.name) / NAME

    def _listed(self) -> Iterator[tuple[str, Stamp]]:
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if OURS.fullmatch(entry.name):  # other files here are none of ours to read or remove
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.name, Stamp.of(entry.stat())

    def _opened(self, name: str) -> int:
        file = self._open.get(name)
        if file is None:
            file = self._open[name] = os.open(self.folder / name, os.O_RDONLY)
            if len(self._open) > OPEN:
                os.close(self._open.popitem(last=False)[1])
        else:
            self._open.move_to_end(name)
        return file

    def _unlink(self, name: str) -> None:
        if name in self._open:
            os.close(self._open.pop(name))
        if self.writable:
            with contextlib.suppress(OSError):
                os.unlink(self.folder / name)


def stamp_of(path: Path) -> Stamp:
    """What a file is known by."""
    return Stamp.of(path.stat())
