"""A conversation as one file to take away: a zip of `conversation.json` and the media that it names.

It has the form of `anyx chat`'s /save (`anyx.terminal.keeping`), which /load reads where it was unpacked. Beside its
`messages` stand how each reply was made (`replies`), and the turns that came to nothing (`failed`).
"""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.reply import suffix_of
from anyx.sampling import RANGES, Sampling
from anyx.serving.web_guests import Turn
from anyx.terminal import keeping


def write(turns: Sequence[Turn], path: Path) -> Path:
    """Write the file: messages in the chat form, media by `path`, as `AnyX.chat` reads them beside it."""
    if not turns:
        raise ValueError("there is no conversation yet to download")
    numbers = itertools.count()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:

        def put(part: Mapping[str, Any]) -> str:
            suffix = suffix_of(part["media"])
            name = keeping.name_of(part, next(numbers), f".{suffix}")
            file.writestr(name, part["media"].to_bytes(suffix))
            return name

        conversation = keeping.written(kept(turns), put)
        failed = [failure(turns, place, put) for place, turn in enumerate(turns) if not turn.answered]
        replies = [reply(turn) for turn in turns if turn.answered]
        file.writestr(keeping.FILE, keeping.text_of(conversation | {"replies": replies, "failed": failed}))
    return path


def kept(turns: Sequence[Turn]) -> keeping.Kept:
    """What the terminal keeps of a conversation: the turns that were answered, and how the last reply was drawn."""
    messages = [message for turn in turns for message in turn.messages]
    last = next((turn for turn in reversed(turns) if turn.settings), turns[-1])
    sampling = Sampling(**{name: last.settings[name] for name in RANGES if name in last.settings})
    return keeping.Kept(messages, last.seed, sampling, dict(last.settings.get("decode", {})))


def reply(turn: Turn) -> dict[str, Any]:
    """How a reply was made, and whether it is whole."""
    told: dict[str, Any] = {"settings": turn.settings}
    return told | ({"stopped": True} if turn.stopped else {}) | ({"error": turn.error} if turn.error else {})


def failure(turns: Sequence[Turn], place: int, put: keeping.Put) -> dict[str, Any]:
    """A turn that came to nothing: what was said, after how many messages, and why there is no reply."""
    content = keeping.content_of(turns[place].message, put)
    after = sum(len(turn.messages) for turn in turns[:place])
    return {"after": after, "content": content} | reply(turns[place])
