"""Readers of NExT-GPT's files (github.com/NExT-GPT/NExT-GPT; arXiv 2309.05519), of its first and second version.

    nextgpt_pairs  CC3M, WebVid, AudioCaps: `{"caption", "image_name" | "video_name" | "audio_name"}`
    t2m            its text -> text + X set: `{"conversation": [...], "mm_name"}`, see `turns.repacked`
    mosit          `{"image_list": [{"image_name", "caption"}], "video_list", "audio_list", "conversation"}`, where the
                   text names media as `<Image>file</Image>`
    nextgpt_v2     `{"input_<key>", "output_<key>", "<key>_captions", "conversations": [...]}` with marks `<key>`

What an assistant shows carries its caption, which is what a decoder's text encoder reads: no file of precomputed
embeddings is needed (`*_caption_embeddings` is left unread), and a record whose media were never published can be
learnt from all the same.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.data.rows import Root, Rows
from anyx.data.sources import Record
from anyx.data.turns import NAMED_BY, Direction, Part, captioned, lay, listed, marks_of, prompts_of, repacked

FILES = {"image": "image_name", "video": "video_name", "audio": "audio_name"}  # as published
PROMPTS = {"in": ("generate a caption",), "out": ("{}",)}  # what the published stages 1 and 2 ask
FILE_NAME = re.compile(r".*\S\.(?=\w*[A-Za-z])\w{2,5}")  # spaces too, and an ending such as .mp4, but not "at 3.30"


class PairSource(Rows):
    """Pairs of a file and its caption, of whichever kind a row's fields name: `files` maps keys to fields.

    Captions are cleaned as published unless `clean` is false. With `direction` "in" the media are described, with
    "out" they are asked for; in `prompts` and in the `reply` before a medium, "{}" stands for the caption. The defaults
    are the published ones: "generate a caption", and the caption itself said back.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        direction: Direction = "in",
        root: Root = None,
        files: Mapping[str, str] = FILES,
        prompts: Sequence[str] = (),
        reply: str = "{}",
        clean: bool = True,
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        if direction not in PROMPTS:
            raise ValueError(f"direction: {direction!r} is not one of {', '.join(PROMPTS)}")
        self.direction, self.files, self.clean, self.reply = direction, dict(files), clean, reply
        self.prompts = prompts_of(prompts, direction, PROMPTS[direction])

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Two turns; the prompt is chosen by the row's number."""
        named = [(key, row[field]) for key, field in self.files.items() if row.get(field)]
        if len(named) != 1:
            raise ValueError(f"it names {len(named)} files; a pair has one of {', '.join(self.files.values())}")
        caption = cleaned(row["caption"]) if self.clean else row["caption"].strip()
        if not caption:
            raise ValueError("its caption is empty")
        prompt = random.Random(index).choice(self.prompts)
        record = captioned(self.part(*named[0], caption), caption, self.direction, prompt, self.reply)
        return record | ({"id": str(row["audio_id"])} if "audio_id" in row else {})


class ConversationSource(Rows):
    """Conversations whose turns say what they take and show: the T2M set, and any other re-pack of NExT-GPT.

    `files` are the fields of a row that may name a file.
    """

    def __init__(
        self, path: str | Path, *, root: Root = None, files: Sequence[str] = NAMED_BY, limit: int | None = None
    ) -> None:
        super().__init__(path, root, limit)
        self.files = tuple(files)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """The turns with their media."""
        return repacked(row, self.part, self.files)


class MositSource(Rows):
    """Dialogues of many turns with several media each, named in the text and captioned in lists.

    `files` maps keys to the fields that name a file in the list `<key>_list`; how many spaces part a name's words does
    not matter. Where an assistant's tag holds no file's name but a description, as in some drafts, the turn goes
    without it, and the record says under `dropped` what it held.
    """

    def __init__(
        self, path: str | Path, *, root: Root = None, files: Mapping[str, str] = FILES, limit: int | None = None
    ) -> None:
        super().__init__(path, root, limit)
        self.files = dict(files)
        self.keys = {key.lower(): key for key in self.files}
        names = "|".join(map(re.escape, self.files))
        self.tags = re.compile(rf"\s*<({names})>(?:([^<]*)</\1>)?\s*", re.IGNORECASE)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Each medium where its tag stands, with the caption of its list; a bare tag takes the next of the list."""
        known = {
            key: {spaced(item[field]): item for item in row.get(f"{key}_list") or ()}
            for key, field in self.files.items()
        }
        left = {key: iter(names) for key, names in known.items()}
        dropped: list[str] = []

        def take(role: str, tag: re.Match[str]) -> Part | None:
            key = self.keys[tag[1].lower()]
            name = next(left[key], "") if tag[2] is None else spaced(tag[2])
            if name not in known[key]:
                if role != "assistant" or not name or FILE_NAME.fullmatch(name):
                    raise ValueError(f"{tag[0].strip()} stands for {name or 'one more file'}, which {key}_list lacks")
                dropped.append(tag[0].strip())
                return None
            item = known[key][name]
            caption = item.get("caption")
            if role == "assistant" and not (isinstance(caption, str) and caption.strip()):
                raise ValueError(f"{name} is shown without a caption")
            return self.part(key, item[self.files[key]], caption)

        record = {"messages": lay(row["conversation"], self.tags, take)}
        return record | ({"dropped": dropped} if dropped else {})


class MarkedSource(Rows):
    """Version 2's records: marks `<key>` in what a human says stand for inputs, elsewhere for outputs.

    `media` are the keys. A file of an output may be missing where its caption is there; captions go to the outputs
    of their key, or, where there is none, to its inputs.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        root: Root = None,
        media: Sequence[str] = tuple(FILES),
        limit: int | None = None,
    ) -> None:
        super().__init__(path, root, limit)
        self.media = tuple(media)
        self.marks = marks_of(self.media)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """As many marks as files and captions."""
        marks: dict[tuple[str, str], list[Part]] = {}

        def take(role: str, mark: re.Match[str]) -> Part:
            part: Part = {"type": mark[1]}
            marks.setdefault(("input" if role == "user" else "output", mark[1]), []).append(part)
            return part

        messages = lay(row["conversations"], self.marks, take)
        for key in self.media:
            captions = listed(row.get(f"{key}_captions"))
            for side in ("output", "input"):
                parts, files = marks.get((side, key), []), listed(row.get(f"{side}_{key}") or None)
                said, captions = (captions, []) if parts else ([], captions)
                if len(files) not in {len(parts), 0 if said and side == "output" else len(parts)}:
                    raise ValueError(f"{len(parts)} marks <{key}> but {len(files)} files in {side}_{key}")
                if said and (len(said) != len(parts) or not all(isinstance(x, str) and x.strip() for x in said)):
                    raise ValueError(f"{len(parts)} marks <{key}> but {key}_captions are {said!r:.80}")
                for place, part in enumerate(parts):
                    name, caption = (files or [None] * len(parts))[place], (said or [None] * len(parts))[place]
                    part |= self.part(key, name, caption)
            if captions:
                raise ValueError(f"{key}_captions are given, but no mark <{key}> stands in the text")
        return {"messages": messages}


def spaced(name: str) -> str:
    """A file's name with one space between its words, to find it by."""
    return " ".join(name.split())


def cleaned(caption: str) -> str:
    """A caption in lower case, without quotes, brackets and the like, as NExT-GPT trains on it."""
    return " ".join(re.sub(r'["()*#:;~]', " ", caption.lower()).split())
