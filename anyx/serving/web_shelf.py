"""Where the files of the web demo lie: one private folder, in it one folder a visitor, whose name nobody can guess."""

from __future__ import annotations

import secrets
import shutil
from collections import OrderedDict
from pathlib import Path

from anyx.interfaces import Media
from anyx.media import Image, Video
from anyx.reply import suffix_of

MOST = 256  # files of one visitor; those that were shown longest ago go first
SMALL, SIDE = "small_", 128  # how names of small pictures begin, by which the style sheet knows them; their pixels


class Shelf:
    """The files that one visitor is shown; `clear` it when they have gone.

    Media are written anew from their pixels and samples, so that nothing is served as it was sent.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / secrets.token_urlsafe(24)
        self._kept: OrderedDict[int, tuple[Media, Path]] = OrderedDict()
        self._placed = 0

    def place(self, media: Media) -> Path:
        """The file of a medium, written when it is first asked for."""
        if id(media) not in self._kept:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            name = f"{SMALL if small(media) else ''}{self._placed}.{suffix_of(media)}"
            path = media.save(self.folder / name)
            self._kept[id(media)] = media, path
            self._placed += 1
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)[1][1].unlink(missing_ok=True)
        self._kept.move_to_end(id(media))
        return self._kept[id(media)][1]

    def fresh(self, name: str) -> Path:
        """A place for another file in a folder of its own."""
        folder = self.folder / secrets.token_urlsafe(12)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / name

    def clear(self) -> None:
        """Remove everything."""
        self._kept.clear()
        shutil.rmtree(self.folder, ignore_errors=True)


def small(media: Media) -> bool:
    """Whether it is a picture or a clip of so few pixels that each is to be seen."""
    if isinstance(media, Image | Video):
        return max((media.pixels if isinstance(media, Image) else media.frames).shape[-2:]) <= SIDE
    return False
