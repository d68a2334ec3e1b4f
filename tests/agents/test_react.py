"""ReAct replies, well and badly formed, and what tools say in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import add, corner

from anyx.agents.forms import Observed
from anyx.agents.interfaces import Call, Gallery, Result
from anyx.agents.react import React
from anyx.agents.specs import spec_of
from anyx.grounding.boxes import Size
from anyx.tools.interfaces import Found

FORM = React()
WRITTEN = 'Thought: I look.\nAction: detect\nAction Input: {"image": "<image 1>", "words": "dog"}'
PIECES = ["Thought:", "Action:", "Action Input:", "Final Answer:", "Observation:", "\n", "{", "}", '"', "a", "*", " "]
CALL = Call("detect", {"image": "<image 1>", "words": "dog"})


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN,
        'I look.\nAction: `detect`\nAction Input: ```json\n{"image": "<image 1>", "words": "dog"}\n```',
        "**Thought:** I look.\n**Action:** detect\n**Action Input:** {'image': '<image 1>', 'words': 'dog'}\n",
        f"{WRITTEN}\nObservation: found 9\nFinal Answer: 9",
        f'{WRITTEN}\nAction: add\nAction Input: {{"a": 1}}',
    ],
)  # fmt: skip
def test_an_action_in_many_hands(text: str) -> None:
    said = FORM.read(text)
    assert (said.thought.strip("* "), said.calls, said.value, said.problem) == ("I look.", (CALL,), None, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Thought: I know.\nFinal Answer: two\ndogs", "two\ndogs"),
        ("There are two dogs.", "There are two dogs."),
        ("Final Answer: <image 2>", "<image 2>"),
    ],
)
def test_answers(text: str, value: str) -> None:
    assert FORM.read(text).value == value
    assert FORM.read(text).problem is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Thought: hm", "Final Answer"),
        ("Action:\nAction Input: {}", "names no tool"),
        ("Action: None", "names no tool"),
        ("Action: detect\nAction Input: a dog", "it is no JSON"),
        ("Action: detect\nAction Input: [1]", "is a JSON object"),
        ("Action: detect\nAction Input: " + "{1:" * 5000, "nested deeper"),
    ],
)
def test_problems_are_told(text: str, said: str) -> None:
    problem = FORM.read(text).problem
    assert problem is not None
    assert said in problem
    assert FORM.complained("?", problem) == f"Observation: error: {problem}"


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=40).map("".join)))
def test_nothing_that_a_model_says_raises(text: str) -> None:
    said = FORM.read(text)
    assert (said.problem is not None) or said.calls or said.value is not None


def test_what_the_model_is_told() -> None:
    """Tools with their parameters; places as shares of the sides, new media as handles."""
    told = FORM.system([spec_of(add), spec_of(corner)])
    assert "- add(a: integer, b?: integer): Add two whole numbers." in told
    assert "- corner(image: image): Find the upper left quarter." in told
    found = Result("1 found", (), (Found("dog", (10, 20, 40, 60), 0.876),), Size(40, 60))
    seen = [
        Observed(CALL, found),
        Observed(CALL, Result(text="drawn"), ("<image 2>",)),
        Observed(CALL, Result(error="no")),
        Observed(CALL, Result()),
    ]
    assert FORM.told("?", seen, Gallery()).splitlines() == [
        "Observation: 1 found; dog at [0.25, 0.33, 1.0, 1.0] (0.88)",
        "Observation: drawn; new: <image 2>",
        "Observation: error: no",
        "Observation: nothing",
    ]
