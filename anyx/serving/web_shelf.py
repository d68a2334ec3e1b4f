"""Where the files of the web demo lie: one private folder, in it one folder a visitor, whose name nobody can guess."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from anyx.interfaces import Media
from anyx.reply import suffix_of


class Shelf:
    """The files that one visitor is shown; `clear` it when they have gone.

    Media are written anew from their pixels and samples, so that nothing is served as it was sent.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / secrets.token_urlsafe(24)
        self._kept: dict[int, tuple[Media, Path]] = {}

    def place(self, media: Media) -> Path:
        """The file of a medium, written when it is first asked for."""
        if id(media) not in self._kept:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self.folder / f"{len(self._kept)}.{suffix_of(media)}"
            self._kept[id(media)] = media, media.save(path)
        return self._kept[id(media)][1]

    def fresh(self, name: str) -> Path:
        """A place for another file in a folder of its own."""
        folder = self.folder / secrets.token_urlsafe(12)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / name

    def clear(self) -> None:
        """Remove everything."""
        self._kept = {}
        shutil.rmtree(self.folder, ignore_errors=True)
