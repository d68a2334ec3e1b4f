"""Reader of LLaVA-Plus's dialogues (Liu et al. 2023, arXiv:2311.05437), in which a reply calls tools.

Rows are LLaVA's, `{"id", "image", "conversations": [{"from", "value"}]}`. A turn of the model may have its thoughts and
actions in fields of their own, `{"from": "gpt", "thoughts": ..., "actions": [{"API_name", "API_params"}], "value"}`;
what is learnt is one text with all three, as `written` lays them out. What tools said is a turn of the user.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.data.formats import LlavaSource
from anyx.data.rows import Root, Rows
from anyx.data.sources import Record


class LlavaPlusSource(Rows):
    """LLaVA's JSON with replies of three fields. `media` and `front` are those of `LlavaSource`."""

    def __init__(
        self,
        path: str | Path,
        *,
        root: Root = None,
        media: Sequence[str] = ("image",),
        front: bool = False,
        limit: int | None = None,
    ) -> None:
        self.inner = LlavaSource(path, root=root, media=media, front=front, limit=limit)
        super().__init__(path, root, limit, self.inner.rows)

    def convert(self, row: dict[str, Any], index: int) -> Record:
        """Lay each file where its mark stands, and the three fields of a reply out as one text."""
        turns = [said(turn) for turn in row["conversations"]]
        return self.inner.convert({**row, "conversations": turns}, index)


def said(turn: Mapping[str, Any]) -> dict[str, Any]:
    """A turn whose `value` is all that it says."""
    if "thoughts" not in turn and "actions" not in turn:
        return dict(turn)
    actions = turn.get("actions") or []
    if not isinstance(actions, list) or not all(isinstance(one, dict) and "API_name" in one for one in actions):
        raise ValueError(f"actions are a list of API_name and API_params, but {str(actions)[:80]!r} was found")
    return {"from": turn["from"], "value": written(turn.get("thoughts") or "", actions, turn.get("value") or "")}


def written(thoughts: str, actions: Sequence[Mapping[str, Any]], value: str) -> str:
    """A reply as the model writes it."""
    listed = json.dumps(list(actions), ensure_ascii=False)
    return f'"thoughts🤔" {thoughts}\n"actions🚀" {listed}\n"value👉" {value}'
