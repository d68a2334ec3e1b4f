"""What a model answers: the events of a stream, and the reply that gathers them in the order they were said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anyx.media import MEDIA, Image, Medium

Media = Medium


class TextEvent(NamedTuple):
    """A row has said some text."""

    row: int
    text: str


class MediaEvent(NamedTuple):
    """A row has shown a medium of output `key`."""

    row: int
    key: str
    media: Media


class Reply:
    """Text and media in the order they were said; neighbouring texts are one part.

    `keys` names the output of every part, "text" for words; without it a medium is named by its kind.
    """

    def __init__(self, parts: Sequence[str | Media], keys: Sequence[str] | None = None) -> None:
        if keys is None:
            keys = ["text" if isinstance(part, str) else kind_of(part) for part in parts]
        self.parts: list[str | Media] = []
        self.keys: list[str] = []
        for part, key in zip(parts, keys, strict=True):
            last = self.parts[-1] if self.parts else None
            if isinstance(part, str) and isinstance(last, str):
                self.parts[-1] = last + part
            elif part != "":
                self.parts.append(part)
                self.keys.append(key)

    @classmethod
    def gather(cls, events: Iterable[TextEvent | MediaEvent]) -> Reply:
        """The reply of one row from its events."""
        pairs = [(event.text, "text") if isinstance(event, TextEvent) else (event.media, event.key) for event in events]
        return cls([part for part, _ in pairs], [key for _, key in pairs])

    @property
    def text(self) -> str:
        """All words, media left out."""
        return "".join(part for part in self.parts if isinstance(part, str))

    def media(self, key: str) -> list[Media]:
        """The media of one output, in order."""
        return [
            part for part, name in zip(self.parts, self.keys, strict=True) if name == key and not isinstance(part, str)
        ]

    def message(self) -> dict[str, Any]:
        """The reply as an assistant's message, to append to the conversation."""
        content: list[dict[str, Any]] = []
        for part, key in zip(self.parts, self.keys, strict=True):
            if isinstance(part, str):
                content.append({"type": "text", "text": part})
            else:
                content.append({"type": key, "media": part})
        return {"role": "assistant", "content": content}

    def save(self, folder: str | Path) -> list[Path]:
        """Write every part to `<number>_<key>.<suffix>`; returns the files in order."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, part in zip(self.names(), self.parts, strict=True):
            files.append(folder / name)
            if isinstance(part, str):
                files[-1].write_text(part, encoding="utf-8")
            else:
                part.save(files[-1])
        return files

    def names(self) -> list[str]:
        """The file of every part: `<number>_<key>.<suffix>`."""
        ends = ["txt" if isinstance(part, str) else suffix_of(part) for part in self.parts]
        return [f"{number}_{key}.{end}" for number, (key, end) in enumerate(zip(self.keys, ends, strict=True))]

    def __repr__(self) -> str:
        shown = [part if isinstance(part, str) else f"<{key}>" for part, key in zip(self.parts, self.keys, strict=True)]
        return f"Reply({shown})"


def kind_of(part: Media) -> str:
    """The name of a medium's kind: the YAML's, or that of a class which is none of ours."""
    return next((name for name, kind in MEDIA.items() if kind is type(part)), type(part).__name__.lower())


def suffix_of(part: Media) -> str:
    """The format that loses least of a medium and is widely shown; of pictures only tiff holds deep grey of floats."""
    deep = isinstance(part, Image) and part.grey is not None and part.grey.is_floating_point()
    return "tiff" if deep else part.suffix
