"""`manifest.jsonl`: a line a request, with what was asked, the files it got, or why it got none.

A line is written when the files it names are there. A run that was stopped goes on by it: what failed, what is asked
otherwise now, and a line that was not finished are done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx import durable

FILE = "manifest.jsonl"


class Line(NamedTuple):
    """What became of a request. `parts` are keys in the order they were said, `files` their names in the folder."""

    id: str
    inputs: list[dict[str, Any]]
    seed: int
    digest: str
    parts: list[str]
    files: list[str]
    text: str
    seconds: float
    error: str | None = None
    missing: Sequence[str] = ()

    def json(self) -> str:
        """The line as it is written."""
        return json.dumps(self._asdict(), ensure_ascii=False)


class Manifest:
    """The lines of a folder, by name; `resume` keeps those that were answered, else there must be none."""

    def __init__(self, folder: Path, *, resume: bool) -> None:
        self.path = folder / FILE
        self.done: dict[str, Line] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and not resume:
            raise ValueError(f"{self.path} is there already: --resume goes on with it, or name another folder by --out")
        if self.path.exists():
            self._read()
        durable.drop_parts(folder)

    def keep(self, wanted: Mapping[str, str], expected: Collection[str]) -> dict[str, Line]:
        """Lines that stand for requests `wanted`, name -> digest, with files that are there; the others are dropped."""
        folder = self.path.parent
        self.done = {
            name: line._replace(missing=[key for key in expected if key not in line.parts])
            for name, line in self.done.items()
            if line.error is None
            and wanted.get(name) == line.digest
            and all((folder / file).is_file() for file in line.files)
        }
        durable.write_text(self.path, "".join(f"{line.json()}\n" for line in self.done.values()))
        return dict(self.done)

    def add(self, line: Line) -> None:
        """Write a line, to the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{line.json()}\n")
            file.flush()
            os.fsync(file.fileno())
        self.done[line.id] = line

    def _read(self) -> None:
        for text in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = Line(**json.loads(text))
            except (ValueError, TypeError):  # the last line of a run that was killed, or somebody else's
                continue
            self.done[line.id] = line
