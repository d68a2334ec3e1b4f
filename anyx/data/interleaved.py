"""Readers of text with pictures in it: mPLUG-Owl's conversations in one text, and the pages of MMC4.

mplug_owl  {"image": [files], "text": "...Human: <image>\\nHuman: ...\\nAI: ...", "task_type"}, a line each
mmc4       {"text_list": [...], "image_info": [{"image_name", "matched_text_index", "matched_sim"}]}, a line each
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record
from anyx.data.turns import Part, lay, listed, message
from anyx.signatures import Count

VOICE = re.compile(r"(?:^|\n)[ ]*(Human|AI):[ ]?")
SHOWN = re.compile(r"\s*<\|?(image|video)\|?>\s*")
SPEAKERS = {"Human": "human", "AI": "gpt"}


class OwlSource(Rows):
    """mPLUG-Owl's instructions: what stands before the first voice is the system's, lines of one voice are one turn."""

    def __init__(self, path: str | Path, *, root: Root = None, limit: int | None = None) -> None:
        super().__init__(path, root, limit)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Files stand where `<image>` or `<|video|>` does, as many marks as files."""
        before, *pieces = VOICE.split(row["text"])
        turns: list[dict[str, str]] = []
        for voice, said in zip(pieces[::2], pieces[1::2], strict=True):
            if turns and turns[-1]["from"] == SPEAKERS[voice]:
                turns[-1]["value"] += f"\n{said}"
            else:
                turns.append({"from": SPEAKERS[voice], "value": said.strip("\n")})
        files = {key: listed(row.get(key)) for key in ("image", "video")}
        left = {key: iter(names) for key, names in files.items()}

        def take(role: str, mark: re.Match[str]) -> Part:
            if (name := next(left[mark[1]], None)) is None:
                raise ValueError(f"{mark[0].strip()} marks no file: {len(files[mark[1]])} are named")
            return self.part(mark[1], name)

        if turns and turns[-1]["from"] == "human" and not turns[-1]["value"].strip():
            del turns[-1]
        messages = [message("system", [before.strip()])] if before.strip() else []
        messages += lay(turns, SHOWN, take)
        if unmarked := [name for names in left.values() for name in names]:
            raise ValueError(f"{unmarked} are marked nowhere; each file has one mark")
        return {"messages": messages}


class MMC4Source(Rows):
    """MMC4's pages: the assistant says the text, and pictures are shown before the sentence that they were matched to.

    Those below `similarity` are left out, and of the others all but the first `most`; a page without one is skipped.
    `key` is the model's name for pictures.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        similarity: float = 0.24,
        most: Count = 6,
        key: str = "image",
        root: Root = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.similarity, self.most, self.key = similarity, most, key

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """A turn with pictures, then the text up to the next."""
        sentences = row["text_list"]
        near = [info for info in row["image_info"] if info["matched_sim"] >= self.similarity]
        near = sorted(near, key=lambda info: int(info["matched_text_index"]))[: self.most]
        starts = sorted({info["matched_text_index"] for info in near})
        if not near or not 0 <= starts[0] <= starts[-1] < len(sentences):
            told = f"{len(near)} pictures at {starts} of {len(sentences)} sentences"
            raise ValueError(f"it has {told}: at least one is needed, of similarity {self.similarity}")
        messages = [message("assistant", [" ".join(sentences[: starts[0]])])] if starts[0] else []
        for start, end in zip(starts, [*starts[1:], len(sentences)], strict=True):
            shown = [self.part(self.key, info["image_name"]) for info in near if info["matched_text_index"] == start]
            messages += [message("user", shown), message("assistant", [" ".join(sentences[start:end])])]
        return {"messages": messages}
