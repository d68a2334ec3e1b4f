"""What visitors attach, as parts of a message: files of the upload folder alone, all read through the intake."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from anyx.films import UNSEEN
from anyx.media import MEDIA, Audio, Image, Kind, Series, Video
from anyx.model import AnyX
from anyx.serving.intake import Intake, Refused

KEPT = 3600  # seconds that an upload lies here; nobody looks at it once it was read
SWEEP = 60.0  # seconds between two looks for such
GRADIO = re.compile(r"[0-9a-f]{64}")  # how Gradio names the folder of an upload
SUFFIXES: dict[Kind, tuple[str, ...]] = {
    Image: (".png", ".apng", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    Audio: (".wav", ".mp3", ".flac", ".ogg", ".m4a", ".opus", ".weba", ".webm"),
    Video: (".mp4", ".webm", ".mkv", ".mov", ".avi"),
    Series: (".npz", ".npy", ".csv"),
}
NAMES = {kind: name for name, kind in MEDIA.items()}


class Uploads:
    """Reads what lies in a folder, and nothing else; `kinds` are of the inputs that media are for."""

    def __init__(self, kinds: Mapping[str, Kind], intake: Intake, folder: Path) -> None:
        self.kinds, self.intake, self.folder = kinds, intake, folder.resolve()
        self.dropped: dict[Kind, str] = {}  # the input that a dropped file of a kind is for: the first
        for key, kind in kinds.items():
            self.dropped.setdefault(kind, key)
        self.slots = [key for key in kinds if key not in self.dropped.values()]  # of which one must say so

    @property
    def suffixes(self) -> list[str]:
        """What may be dropped."""
        return list(dict.fromkeys(suffix for kind in self.dropped for suffix in SUFFIXES[kind]))

    def parts(self, dropped: Sequence[str], slots: Mapping[str, str | None]) -> list[dict[str, Any]]:
        """Parts `{"type": key, "media": ...}` of a message; `Refused` names the first file that is not taken."""
        found = [self.dropped_part(Path(path)) for path in dropped]
        files = [(key, Path(path)) for key, path in slots.items() if path]
        return found + [{"type": key, "media": self.read(self.kinds[key], path)} for key, path in files]

    def dropped_part(self, path: Path) -> dict[str, Any]:
        """A file as a part; of films without pictures, which browsers record sound to, the sound."""
        key = self.key_of(path)
        try:
            return {"type": key, "media": self.read(self.kinds[key], path)}
        except Refused as refused:
            if UNSEEN not in str(refused) or Audio not in self.dropped:
                raise
        return {"type": self.dropped[Audio], "media": self.read(Audio, path)}

    def sweep(self) -> None:
        """Remove what was uploaded long ago."""
        for folder in self.folder.iterdir():
            with suppress(FileNotFoundError):  # swept by another thread
                if GRADIO.fullmatch(folder.name) and folder.stat().st_mtime < time.time() - KEPT:
                    shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def swept(self, pause: float = SWEEP) -> Iterator[None]:
        """Remove old uploads every `pause` seconds for as long as the block runs, whoever comes or stays away."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(pause):
                self.sweep()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def key_of(self, path: Path) -> str:
        """The input that a dropped file is for, by its suffix; pictures that move are clips."""
        if Video in self.dropped and animated(path):
            return self.dropped[Video]
        for kind, key in sorted(self.dropped.items(), key=lambda one: one[0] is not Video):  # sound may be in films
            if path.suffix.lower() in SUFFIXES[kind]:
                return key
        known = ", ".join(self.suffixes) or "no files"
        raise Refused(
            f"{path.name[:80]}: this model reads {known}, not {path.suffix[:20] or 'a file without suffix'}", 415
        )

    def read(self, kind: Kind, path: Path) -> Any:
        """A medium of a kind from a file that was uploaded."""
        place = path.resolve()
        if not place.is_relative_to(self.folder) or not place.is_file():
            raise Refused(f"{path.name[:80]}: it was not uploaded here, or is no longer there; send it again", 404)
        if place.stat().st_size > self.intake.bounds.limits.bytes:
            raise Refused(f"{path.name[:80]}: {place.stat().st_size:,} bytes are too many", 413)
        try:
            return self.intake.read(kind, place.read_bytes())
        except Refused as refused:
            raise Refused(f"{path.name[:80]} is not read as {NAMES[kind]}: {refused}", refused.status) from refused


def kinds_of(model: AnyX) -> dict[str, Kind]:
    """What each input of a model reads."""
    return {key: port.kind for key, port in model.inputs.items()}


def animated(path: Path) -> bool:
    """Whether a picture moves: a GIF, or a PNG or WebP that says so at its beginning."""
    suffix = path.suffix.lower()
    if suffix not in (".png", ".apng", ".webp") or not path.is_file():
        return suffix == ".gif"
    with path.open("rb") as file:
        head = file.read(2**16)
    return b"ANIM" in head[:64] if suffix == ".webp" else b"acTL" in head.partition(b"IDAT")[0]


def unopened(payload: Any) -> str | None:
    """The path of what was uploaded; Gradio's picture would open it first, without any bounds."""
    return None if payload is None else str(payload.path)
