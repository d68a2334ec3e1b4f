"""A conversation as one file to take away: a zip of `conversation.json` and the media that it names."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyx.interfaces import Media
from anyx.reply import suffix_of
from anyx.serving.web_guests import Turn


def write(turns: Sequence[Turn], path: Path) -> Path:
    """Write the file: messages in the chat form, media by `path`, as `AnyX.chat` reads them beside it."""
    if not turns:
        raise ValueError("there is no conversation yet to download")
    messages: list[dict[str, Any]] = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:

        def part(key: str, one: str | Media) -> dict[str, Any]:
            if isinstance(one, str):
                return {"type": "text", "text": one}
            name = f"media/{len(messages)}_{len(file.namelist())}_{key}.{suffix_of(one)}"
            file.writestr(name, one.to_bytes(suffix_of(one)))
            return {"type": key, "path": name}

        for turn in turns:
            keys = [one["type"] for one in turn.message["content"]]
            asked = [part(key, one) for key, one in zip(keys, turn.parts, strict=True)]
            messages.append({"role": "user", "content": asked})
            if turn.reply is not None:
                said = [part(key, one) for key, one in zip(turn.reply.keys, turn.reply.parts, strict=True)]
                told = {"stopped": True} if turn.stopped else {}
                messages.append({"role": "assistant", "content": said, "settings": turn.settings, **told})
            if turn.error:
                messages.append({"role": "error", "content": turn.error})
        file.writestr("conversation.json", json.dumps({"messages": messages}, indent=2, ensure_ascii=False) + "\n")
    return path
