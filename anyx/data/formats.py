"""Readers of two widespread formats: LLaVA's conversations and caption pairs, as dialogues of Hugging Face messages.

`LlavaSource` reads the JSON list `{"id", "image": file or files, "conversations": [{"from", "value"}]}`, where
`<image>` in the text marks the place of each file; any further kind of media works the same way under its own name.
It reads NExT-GPT's re-pack of it too (`{"image_name", "conversation": [...]}`).
`CaptionSource` reads pairs of a file and its caption (JSON list, JSON lines, CSV or TSV) and asks for one from the
other.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record
from anyx.data.turns import Direction, Part, captioned, lay, listed, marks_of, message, prompts_of, repacked


class LlavaSource(Rows):
    """LLaVA's JSON. `media` lists the row keys that hold files, each marked `<key>` in the text.

    With `front` media stand before the words of their turn, wherever their marks are: as LLaVA trains. Without
    `requests` the words beside a user's media are left out: of a caption's request only the picture remains, as in
    LLaVA's first stage.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        root: Root = None,
        media: Sequence[str] = ("image", "video", "audio"),
        front: bool = False,
        requests: bool = True,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.media, self.front, self.requests = tuple(media), front, requests
        self.marks = marks_of(self.media)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Lay each file where its mark stands; as many marks as files."""
        if "conversation" in row:
            return repacked(row, self.part)
        files = {key: listed(row.get(key) or None) for key in self.media}
        left = {key: iter(names) for key, names in files.items()}
        marks = dict.fromkeys(self.media, 0)

        def take(role: str, mark: re.Match[str]) -> Part:
            marks[mark[1]] += 1
            return self.part(mark[1], next(left[mark[1]], None))

        messages = lay(row["conversations"], self.marks, take)
        for key, held in files.items():
            if marks[key] != len(held):
                raise ValueError(f"{marks[key]} marks <{key}> but {len(held)} files; each file has one mark")
        return {"messages": [self._arranged(one) for one in messages]}

    def _arranged(self, said: dict[str, Any]) -> dict[str, Any]:
        """A turn with its media in front, and without its words, where that is wanted."""
        shown = [part for part in said["content"] if part["type"] != "text"]
        if said["role"] != "user" or not shown or (self.requests and not self.front):
            return said
        words = [part["text"] for part in said["content"] if part["type"] == "text"] if self.requests else []
        return message("user", [*shown, *words])


class CaptionSource(Rows):
    """Pairs of a file and its caption.

    `key` is the model's name for the media, `file` and `caption` the columns (default of `file`: `<key>_name`,
    `<key>`, `path`, whichever a row has). With `direction` "in" the media are described, with "out" they are asked
    for.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        key: str,
        direction: Direction = "in",
        file: str | None = None,
        caption: str = "caption",
        prompts: Sequence[str] = (),
        reply: str = "",
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        if direction not in ("in", "out"):
            raise ValueError(f"direction: {direction!r} is not one of in, out")
        self.key, self.direction, self.file, self.caption = key, direction, file, caption
        self.prompts = prompts_of(prompts, direction, ["{}" if direction == "out" else "Describe this."])
        self.reply = reply

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns; the prompt is chosen by the row's number. "{}" in a text for "out" stands for the caption."""
        columns = [self.file] if self.file else [f"{self.key}_name", self.key, "path"]
        name = next((row[column] for column in columns if row.get(column)), None)
        if name is None or not row.get(self.caption):
            raise ValueError(f"it needs {self.caption!r} and one of {', '.join(columns)}")
        caption = row[self.caption]
        part = self.part(self.key, name, caption)
        return captioned(part, caption, self.direction, random.Random(index).choice(self.prompts), self.reply)
