"""Readers of what systems made of LLaVA's and Alpaca's formats.

    cogvlm   a folder of files beside their pictures: {"conversations": [{"role", "content"}]} or {"captions": [...]}
    qwen_vl  {"conversations": [{"from": "user" or "assistant", "value": "Picture 1: <img>file</img>..."}]}
    lamm     {"id", "image" or "pcl": file, "conversations": [{"from", "value"}], "task_type"}
    macaw    {"instruction", "input", "output", "image" or "video" or "audio": file}

Boxes stay in the text as they are written.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record
from anyx.data.turns import Part, captioned, lay, listed, message, prompts_of, role_of

TAGGED = re.compile(r"(?:Picture \d+:\s*)?<img>\s*(.*?)\s*</img>\n?")
MARKED = re.compile(r"\s*<(image|pcl|pointcloud)>\s*")
PICTURES = (".jpg", ".jpeg", ".png", ".webp")
PAIRED = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


class CogSource(Rows):
    """CogVLM-SFT-311K: pictures are in the file's folder, or in `root`, under the file's name.

    Of several captions the record's number draws one; `prompts` ask for it. `key` is the model's name for pictures.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        key: str = "image",
        prompts: Sequence[str] = (),
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        files = sorted(Path(path).rglob("*.json"))
        if not files:
            raise ValueError(f"path: {path} is no folder with .json files")
        super().__init__(path, root, limit, [{"id": file.stem, "file": str(file)} for file in files])
        self.beside, self.key = root is None, key
        self.prompts = prompts_of(prompts, "in", ["Describe this."])

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """The picture stands before the first turn."""
        file = Path(row["file"])
        said = json.loads(file.read_bytes())
        folder = file.parent if self.beside else self.folders.get(self.key, self.root)
        found = next((name for end in PICTURES if (name := folder / f"{file.stem}{end}").is_file()), None)
        if found is None:
            raise ValueError(f"there is no {file.stem}{'|'.join(PICTURES)} in {folder}")
        part = self.part(self.key, str(found.absolute()))
        chance = random.Random(index)
        if "captions" in said:
            return captioned(part, chance.choice(listed(said["captions"])), "in", chance.choice(self.prompts), "")
        return {
            "messages": opened(
                [part], [{"from": turn["role"], "value": turn["content"]} for turn in said["conversations"]]
            )
        }


class QwenSource(Rows):
    """Qwen-VL's conversations; `Picture n:` before a tag is the template's to write. `key` names pictures."""

    def __init__(self, path: str | Path, *, key: str = "image", root: Root = None, limit: int | None = None) -> None:
        super().__init__(path, root, limit)
        self.key = key

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """A picture where each tag stands."""

        def take(role: str, mark: re.Match[str]) -> Part:
            if role == "assistant" or not mark[1]:
                raise ValueError(f"{mark[0]!r} in a turn of the {role}: a user's picture with its file is read")
            return self.part(self.key, mark[1])

        return {"messages": lay(row["conversations"], TAGGED, take)}


class LammSource(Rows):
    """LAMM's pictures and clouds, before the words of the first turn wherever a mark stands.

    `image` and `cloud` are the model's names for them, `systems` says what a `task_type` begins with. A cloud's file is
    one that `Series` reads: x, y and z in rows.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        image: str = "image",
        cloud: str = "cloud",
        systems: Mapping[str, str] | None = None,
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.names, self.systems = {"image": image, "pcl": cloud}, dict(systems or {})

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """The task's system turn, if there is one, and the conversation."""
        shown = [self.part(key, name) for field, key in self.names.items() for name in listed(row.get(field))]
        if not shown:
            raise ValueError("it names no image and no pcl")
        begun = self.systems.get(row.get("task_type", ""))
        system = [message("system", [begun])] if begun else []
        return {"messages": [*system, *opened(shown, row["conversations"], MARKED)]}


class MacawSource(Rows):
    """Macaw-LLM's instructions: Alpaca's with a medium. Beside an input the system says `paired`; `media` are keys."""

    def __init__(
        self,
        path: str | Path,
        *,
        media: Sequence[str] = ("image", "audio", "video"),
        paired: str = PAIRED,
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.media, self.paired = tuple(media), paired

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns, media first."""
        shown = [self.part(key, name) for key in self.media for name in listed(row.get(key) or None)]
        more = (row.get("input") or "").strip()
        words = row["instruction"].strip() + (f"\n\n### Input:\n{more}" if more else "")
        system = [message("system", [self.paired])] if more else []
        return {"messages": [*system, message("user", [*shown, words]), message("assistant", [row["output"].strip()])]}


def opened(
    shown: Sequence[Part], turns: Sequence[Mapping[str, Any]], marks: re.Pattern[str] | None = None
) -> list[dict[str, Any]]:
    """The turns as messages, with media before the words of the user's first; marks of media are left out."""
    opening = next((turn for turn in turns if role_of(turn) == "user"), None)
    if opening is None:
        raise ValueError("no user speaks, so there is no turn for its media")
    messages = []
    for turn in turns:
        words = marks.sub(" ", turn["value"]).strip() if marks else turn["value"]
        messages.append(message(role_of(turn), [*(shown if turn is opening else ()), words]))
    return messages
