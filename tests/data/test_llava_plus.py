"""LLaVA-Plus's dialogues: what is read of fields and of texts, and that it is what the agents read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyx.agents.llava_plus import LlavaPlus
from anyx.data.native import open_source

CALL = {"API_name": "grounding_dino", "API_params": {"caption": "dog"}}
TURNS: list[dict[str, Any]] = [
    {"from": "human", "value": "<image>\nFind the dog."},
    {"from": "gpt", "thoughts": "I look.", "actions": [CALL], "value": "Wait."},
    {"from": "human", "value": "grounding_dino model outputs: {}"},
    {"from": "gpt", "value": '"thoughts🤔" I know.\n"actions🚀" []\n"value👉" There is none.'},
]


def opened(folder: Path, *rows: dict[str, Any]) -> Any:
    path = folder / "plus.json"
    path.write_text(json.dumps(list(rows)))
    return open_source("llava_plus", path, {})


def test_a_dialogue(tmp_path: Path) -> None:
    source = opened(tmp_path, {"id": "1", "image": "dog.png", "conversations": TURNS})
    (record,) = source
    texts = [[part.get("text") for part in message["content"]] for message in record["messages"]]
    said = f'"thoughts🤔" I look.\n"actions🚀" [{json.dumps(CALL)}]\n"value👉" Wait.'
    assert texts == [[None, "Find the dog."], [said], [TURNS[2]["value"]], [TURNS[3]["value"]]]
    assert record["messages"][0]["content"][0] == {"type": "image", "path": str(tmp_path / "dog.png")}
    found = LlavaPlus().read(said)
    assert (found.thought, found.value) == ("I look.", "Wait.")
    assert [one._asdict() for one in found.calls] == [{"tool": "grounding_dino", "arguments": {"caption": "dog"}}]


@pytest.mark.parametrize("actions", ["dino", [3], [{"name": "dino"}]])
def test_actions_that_are_none(actions: Any, tmp_path: Path) -> None:
    bad = {"from": "gpt", "thoughts": "", "actions": actions, "value": ""}
    with pytest.raises(ValueError, match="row 0: actions are a list of API_name and API_params"):
        opened(tmp_path, {"image": "dog.png", "conversations": [TURNS[0], bad]})[0]
