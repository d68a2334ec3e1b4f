"""The tasks that prove the adapter of lmms-eval: their rows are made, their functions are there and score as said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from anyx.evaluation.received import read
from anyx.imports import import_file
from anyx.media import Audio, Image, Video

FOLDER = Path(__file__).parents[2] / "experiments" / "lmms_eval"
emoji = import_file(FOLDER / "tasks" / "emoji.py")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    made = import_file(FOLDER / "make.py").main(tmp_path_factory.mktemp("media"), count=4)
    found: list[Row] = json.loads(made.read_text())
    return found


def test_each_row_has_its_media(rows: list[Row]) -> None:
    for row in rows:
        kinds = [type(read(media)) for ask in (emoji.picture, emoji.sound, emoji.clip) for media in ask(row)]
        assert kinds == [Image, Audio, Video]
        assert row["choices"][row["answer"]] == row["label"]
        assert len(set(row["choices"])) == 4


def test_replies_are_scored(rows: list[Row]) -> None:
    row, other = rows[:2]
    right, wrong = f"A {row['label']}.", f"A {other['label']}."
    assert emoji.named(row, [right]) == {"named": 1.0}
    assert emoji.named(row, [wrong]) == emoji.named(row, ["Hm."]) == {"named": 0.0}
    assert emoji.twice(row, [[right, wrong]]) == {"named": 0.5}
    assert emoji.nats(row, [(2.5, True)]) == {"nats": 2.5, "greedy": 1.0}
    assert emoji.painted(row, ["no picture"]) == {"painted": 0.0}
    shown = json.dumps({"text": "", "images": [row["image"]]})
    assert (emoji.painted(row, [shown]), emoji.painted(other, [shown])) == ({"painted": 1.0}, {"painted": 0.0})


def test_a_task_of_rounds_ends(rows: list[Row]) -> None:
    assert emoji.again(rows[0]) == "What is this picture of?"
    media, text, ended, said, _ = emoji.again(rows[0], previous_output=["a"], round_idx=1)
    assert (len(media), text, ended, said) == (1, "Which thing do you hear?", False, ["a"])
    assert emoji.again(rows[0], previous_output=["a", "b"], round_idx=2)[2] is True


@pytest.mark.parametrize("file", sorted((FOLDER / "tasks").glob("*yaml")), ids=lambda file: file.name)
def test_functions_that_a_task_names_are_there(file: Path) -> None:
    names = re.findall(r"!function emoji\.(\w+)", file.read_text())
    assert names
    assert set(names) <= set(vars(emoji))
