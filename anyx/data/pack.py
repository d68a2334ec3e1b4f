"""Records of any source -> tar shards in WebDataset's form, with everything they name inside.

A sample is `<number>.json`, the record, and its media, `<number>.0.jpg`, `<number>.1.wav`, ..., to which the record's
paths point. `WebDatasetSource` gives the same records back, media and all.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyx import files
from anyx.data.sources import Record, relocated
from anyx.files import Member, Piece
from anyx.interfaces import Media
from anyx.prompt import parts_of

KINDS = {b"\x89PNG": "png", b"\xff\xd8": "jpg", b"RIFF": "wav", b"fLaC": "flac", b"OggS": "ogg", b"GIF8": "gif"}


class Shelf:
    """Writes shards of about `size` bytes into a folder; each is there when it is whole."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.written, self.shards = 0, 0
        self.tar: tarfile.TarFile | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if list(folder.glob("*.tar")):
            raise ValueError(f"{folder} holds shards already: name another folder")

    @property
    def part(self) -> Path:
        """The shard that is being written."""
        return self.folder / f".{self.shards:05d}.tar.part"

    def add(self, record: Record) -> None:
        """Write one record; ValueError or OSError, and nothing written, where a medium cannot be read."""
        made, media = packed(record)
        if self.tar is None:
            self.tar = tarfile.open(self.part, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115  (closed by `close`)
        text = json.dumps(made, ensure_ascii=False).encode()
        for extension, data in {"json": text, **media}.items():
            info = tarfile.TarInfo(f"{self.written:09d}.{extension}")
            info.size = len(data)
            self.tar.addfile(info, io.BytesIO(data))
        self.written += 1
        if self.tar.offset >= self.size:
            self.close()

    def close(self) -> None:
        """Finish the shard."""
        if self.tar is not None:
            self.tar.close()
            os.replace(self.part, self.folder / f"{self.shards:05d}.tar")
            self.tar, self.shards = None, self.shards + 1


def packed(record: Record) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The record with its media's sources as names of files in the sample, and these files' bytes."""
    media: dict[str, bytes] = {}

    def stow(source: Any) -> Any:
        if source is None:
            return None
        if isinstance(source, list):
            return [stow(item) for item in source]
        suffix, data = bytes_of(source)
        name = f"{len(media)}.{suffix}"
        media[name] = data
        return name

    made: dict[str, Any] = dict(record)
    if "media" in made:
        made["media"] = {key: stow(source) for key, source in made["media"].items()}
    if "messages" in made:
        made["messages"] = [moved(message, stow) for message in made["messages"]]
    return made, media


def moved(message: Mapping[str, Any], stow: Any) -> dict[str, Any]:
    """The message with its media's sources changed."""
    if isinstance(message["content"], str):
        return dict(message)
    parts = [part if part["type"] == "text" else relocated(part, stow) for part in parts_of(message)]
    return {**message, "content": parts}


def bytes_of(source: Any) -> tuple[str, bytes]:
    """A medium's suffix and bytes."""
    if isinstance(source, Media):
        return "bin", source.to_bytes()
    if not isinstance(source, str | Path | bytes | Piece):
        raise ValueError(f"media are packed from paths and bytes, but {type(source).__name__} was given")
    data = files.contents(source)
    name = source.name if isinstance(source, Member) else str(source) if isinstance(source, str | Path) else ""
    known = next((kind for head, kind in KINDS.items() if data.startswith(head)), "bin")
    return Path(name).suffix.removeprefix(".").lower() or known, data
