"""Readers of instruction sets: Alpaca and VideoChat, each as published and as NExT-GPT packed it again.

Alpaca is the JSON list `{"instruction", "input", "output"}`, VideoChat the JSON list `{"video": file, "QA": [{"q",
"a"}]}` (VideoChat2 adds an instruction `i`). The re-packs of both are `{"image_name", "conversation": [...]}`, see
`turns.repacked`. LLaVA's set is read by `formats.LlavaSource`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record
from anyx.data.turns import Part, message, repacked


class AlpacaSource(Rows):
    """Requests and answers in words (github.com/tatsu-lab/stanford_alpaca)."""

    def __init__(self, path: str | Path, *, root: Root = None, limit: int | None = None) -> None:
        super().__init__(path, root, limit)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns: the instruction with its input below, and the output."""
        if "conversation" in row:
            return repacked(row, self.part)
        ask = "\n".join(text for text in (row["instruction"].strip(), (row.get("input") or "").strip()) if text)
        return {"messages": [message("user", [ask]), message("assistant", [row["output"].strip()])]}


class VideoChatSource(Rows):
    """Questions about clips (OpenGVLab, 11 K rows of WebVid).

    `key` is the model's name for the clips, `file` their column. Rows name clips as `page/clip.mp4`, where downloads
    of WebVid may have other pages or none: with `flat` a clip is looked up by its own name.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        root: Root = None,
        key: str = "video",
        file: str = "video",
        flat: bool = False,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.key, self.file, self.flat = key, file, flat

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """The clip stands before the first question."""
        if "conversation" in row:
            return repacked(row, self.clip)
        messages = []
        for place, pair in enumerate(row["QA"]):
            clip = [] if place else [self.clip(self.key, row[self.file])]
            messages.append(message("user", [*clip, pair.get("i") or "", pair["q"]]))
            messages.append(message("assistant", [pair["a"]]))
        if not messages:
            raise ValueError("it has no question")
        return {"messages": messages}

    def clip(self, key: str, name: str | None, caption: str | None = None) -> Part:
        """The part of a clip, by its own name if that is wanted."""
        return self.part(key, PurePosixPath(name).name if name and self.flat else name, caption)
