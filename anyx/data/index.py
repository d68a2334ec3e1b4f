"""The index of a cache: digest -> the shard and the bytes where its value lies, in an SQLite file beside the shards.

The shards are the truth. The index is derived from their headers, and made again where it is missing, broken or of
another version; so it need not outlive a crash, only never be half true, which transactions see to. Several processes
read and write it at once. It keeps beside the digests of files (of media and of weights), known by path, size and time
of change, so that a second run need not read them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from anyx.data.shards import Contents, Layout, packed, unpacked

NAME, VERSION, WAIT, CHUNK = "index.sqlite", 3, 60.0, 500
MEMORY = 1 << 16  # KiB that a connection may keep of the file
TABLES = """
CREATE TABLE shards (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL, bytes INTEGER NOT NULL,
    time INTEGER NOT NULL, change INTEGER NOT NULL, inode INTEGER NOT NULL,
    maker TEXT NOT NULL, kind TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE layouts (id INTEGER PRIMARY KEY, text TEXT UNIQUE NOT NULL);
CREATE TABLE entries (digest BLOB PRIMARY KEY, shard INTEGER NOT NULL, layout INTEGER NOT NULL, places BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE files (path TEXT PRIMARY KEY, bytes INTEGER NOT NULL, time INTEGER NOT NULL, change INTEGER NOT NULL,
    inode INTEGER NOT NULL, digest TEXT NOT NULL) WITHOUT ROWID;
"""
COLUMNS = "name, maker, kind, created, bytes, time, change, inode"
FIND = "SELECT name, layout, places FROM entries JOIN shards ON shards.id = entries.shard WHERE digest = ?"
Key = bytes | str


class Stamp(NamedTuple):
    """What tells whether a file is what it was. What copies files may set `time`; nobody can set `change` (ns)."""

    bytes: int
    time: int
    change: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Stamp:
        """From what the system says of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class Shard(NamedTuple):
    """A shard as the index knows it."""

    name: str
    stamp: Stamp
    maker: str
    kind: str
    created: float
    entries: int


class Index:
    """One process's connection; `file` ":memory:" is nobody else's."""

    def __init__(self, file: Path | str, *, writable: bool = True) -> None:
        self.layouts: dict[int, Layout] = {}
        mode = "rwc" if writable else "ro"
        where = file if file == ":memory:" else f"{Path(file).resolve().as_uri()}?mode={mode}"
        self.database = sqlite3.connect(where, WAIT, uri=True, isolation_level=None, check_same_thread=False)
        try:
            self.database.execute("PRAGMA synchronous = NORMAL")  # it can be made again
            self.database.execute(f"PRAGMA cache_size = -{MEMORY}")
            self._prepare(writable)
        except BaseException:
            self.close()
            raise

    def _prepare(self, writable: bool) -> None:
        if self._version() == 0 and writable:
            self.database.execute("PRAGMA journal_mode = DELETE")  # readers need to write nothing, unlike with a WAL
            with self.changing():
                if self._version() == 0:  # nobody was faster
                    for statement in TABLES.split(";")[:-1]:
                        self.database.execute(statement)
                    self.database.execute(f"PRAGMA user_version = {VERSION}")
        if self._version() != VERSION:
            raise sqlite3.DatabaseError(f"it is of version {self._version()}, not {VERSION}")

    def _version(self) -> int:
        return int(self.database.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Let go of the file."""
        self.database.close()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """All of what is done in the block, or nothing; other processes wait."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.database.execute("ROLLBACK")
            raise
        self.database.execute("COMMIT")

    def find(self, digest: str) -> tuple[str, Layout, tuple[int, ...]] | None:
        """The shard, layout and places of a value."""
        row = self.database.execute(FIND, (key(digest),))  # one question: another process may replace the shard
        if (found := row.fetchone()) is None:
            return None
        name, layout, places = found
        if layout not in self.layouts:
            text = self.database.execute("SELECT text FROM layouts WHERE id = ?", (layout,)).fetchone()[0]
            self.layouts[layout] = Layout.read(text)
        return name, self.layouts[layout], unpacked(places)

    def holds(self, digest: str) -> bool:
        """Whether there is a value of this digest."""
        row = self.database.execute("SELECT 1 FROM entries WHERE digest = ?", (key(digest),))
        return row.fetchone() is not None

    def held(self, digests: Collection[str]) -> set[str]:
        """Those of the digests that there are values of."""
        found: set[str] = set()
        wanted = list(digests)
        for some in (wanted[i : i + CHUNK] for i in range(0, len(wanted), CHUNK)):
            marks = ", ".join("?" * len(some))
            rows = self.database.execute(f"SELECT digest FROM entries WHERE digest IN ({marks})", [*map(key, some)])
            found |= {text(row[0]) for row in rows}
        return found

    def __iter__(self) -> Iterator[str]:
        return (text(row[0]) for row in self.database.execute("SELECT digest FROM entries").fetchall())

    def __len__(self) -> int:
        return int(self.database.execute("SELECT COUNT(*) FROM entries").fetchone()[0])

    def stamps(self) -> dict[str, Stamp]:
        """The shards that are known, by name."""
        rows = self.database.execute("SELECT name, bytes, time, change, inode FROM shards").fetchall()
        return {name: Stamp(*stamp) for name, *stamp in rows}

    def shards(self) -> list[Shard]:
        """The shards and what they hold, the oldest first."""
        counts = dict(self.database.execute("SELECT shard, COUNT(*) FROM entries GROUP BY shard").fetchall())
        rows = self.database.execute(f"SELECT id, {COLUMNS} FROM shards ORDER BY created")
        return [
            Shard(name, Stamp(*stamp), maker, kind, created, counts.get(number, 0))
            for number, name, maker, kind, created, *stamp in rows
        ]

    def dtypes(self) -> dict[str, int]:
        """How many values hold floating-point numbers of each type."""
        counts = self.database.execute("SELECT layout, COUNT(*) FROM entries GROUP BY layout").fetchall()
        found: dict[str, int] = {}
        for layout, count in counts:
            said = self.database.execute("SELECT text FROM layouts WHERE id = ?", (layout,)).fetchone()[0]
            for dtype in {kind for _, kind, _ in Layout.read(said).tensors if "F" in kind}:
                found[dtype] = found.get(dtype, 0) + count
        return found

    def change(self, found: Mapping[str, tuple[Stamp, Contents]], gone: Iterable[str] = ()) -> None:
        """Take in shards, in the place of what was known under their names, and forget others."""
        with self.changing():
            self._forget([*gone, *found])
            rows = []
            for name, (stamp, held) in found.items():
                note = held.note
                shard = self.database.execute(
                    f"INSERT INTO shards ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (name, note.maker, note.kind, note.created, *stamp),
                ).lastrowid
                layouts = {layout: self._number(layout) for layout in {place[0] for place in held.places.values()}}
                rows += [(key(d), shard, layouts[layout], packed(at)) for d, (layout, at) in held.places.items()]
            rows.sort(key=lambda row: (isinstance(row[0], str), row[0]))  # the tree is written from left to right
            self.database.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)

    def clear(self) -> None:
        """Forget all shards."""
        with self.changing():
            for table in ("entries", "shards"):
                self.database.execute(f"DELETE FROM {table}")

    def _forget(self, names: Sequence[str]) -> None:
        every = dict(self.database.execute("SELECT name, id FROM shards").fetchall())
        numbers = [every[name] for name in names if name in every]
        for some in (numbers[i : i + CHUNK] for i in range(0, len(numbers), CHUNK)):
            marks = ", ".join("?" * len(some))
            self.database.execute(f"DELETE FROM entries WHERE shard IN ({marks})", some)
            self.database.execute(f"DELETE FROM shards WHERE id IN ({marks})", some)

    def _number(self, layout: Layout) -> int:
        said = layout.write()
        self.database.execute("INSERT OR IGNORE INTO layouts (text) VALUES (?)", (said,))
        return int(self.database.execute("SELECT id FROM layouts WHERE text = ?", (said,)).fetchone()[0])

    def file(self, path: str, stamp: Stamp) -> str | None:
        """The digest of a file, if it is as it was when that was noted."""
        question = "SELECT digest, bytes, time, change, inode FROM files WHERE path = ?"
        row = self.database.execute(question, (path,)).fetchone()
        return row[0] if row is not None and row[1:] == stamp else None

    def note(self, digests: Mapping[str, tuple[Stamp, str]]) -> None:
        """Note the digests of files."""
        with self.changing():
            rows = ((path, *stamp, digest) for path, (stamp, digest) in digests.items())
            self.database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?)", rows)


def key(digest: str) -> Key:
    """A digest as the index keeps it: 20 bytes; other names are kept as they are."""
    try:
        found = bytes.fromhex(digest)
    except ValueError:
        return digest
    return found if found.hex() == digest else digest


def text(key: Key) -> str:
    """The digest of a key."""
    return key.hex() if isinstance(key, bytes) else key


def discard(file: Path) -> None:
    """Remove a broken index, and the journal that belongs to it."""
    for path in (file, file.with_name(f"{file.name}-journal")):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
