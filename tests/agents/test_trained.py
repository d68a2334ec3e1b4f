"""A language model that is really trained, here and in seconds, decides: which tool, with what, and what to say of it.

It is asked about sums that are in none of its dialogues (`taught_agent`), and the tools are the real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from taught_agent import FORM, HELD_OUT, THINGS, trained
from tiny_tools import grounding_dino, picture

from anyx.agents.calculator import calculator
from anyx.agents.interfaces import Result
from anyx.agents.loop import Agent, Bounds
from anyx.agents.talkers import CausalTalker
from anyx.agents.toolbox import FunctionTool, Toolbox
from anyx.agents.tools import detecting
from anyx.media import Image


@pytest.fixture(scope="module")
def talker() -> CausalTalker:
    return trained()


@pytest.mark.parametrize("pair", HELD_OUT)
def test_it_computes_with_the_tool_what_it_has_never_seen(pair: tuple[int, int], talker: CausalTalker) -> None:
    agent = Agent(talker, Toolbox([calculator]), FORM)
    trace = agent.answer(f"What is {pair[0]} * {pair[1]}?")
    assert [step.kind for step in trace.steps] == ["asked", "thought", "action", "result", "thought", "value"]
    assert trace.steps[2].arguments == {"expression": f"{pair[0]} * {pair[1]}"}
    assert trace.value == f"It is {pair[0] * pair[1]}."


def test_what_it_says_is_what_the_tool_says(talker: CausalTalker) -> None:
    """A calculator that is wrong is believed."""

    def wrong(expression: str) -> str:
        """Compute."""
        return "13"

    agent = Agent(talker, Toolbox([FunctionTool(wrong, "calculator")]), FORM)
    assert agent.answer("What is 7 * 8?").value == "It is 13."


@pytest.mark.parametrize("thing", THINGS)
def test_it_looks_with_a_detector(thing: str, talker: CausalTalker, tmp_path: Path) -> None:
    """Of a random detector the surest box counts, or none."""
    folder, image = str(grounding_dino(tmp_path)), picture(120, 90, (10, 10, 50, 60))
    every: dict[str, Any] = {"threshold": 0.0, "text_threshold": 0.0, "area": 0.0, "overlap": 0.0}
    one, none = detecting(path=folder, options=every), detecting(path=folder, options={"threshold": 1.0})

    def first(image: Image, caption: str) -> Result:
        """Find things."""
        result = one(image, caption)
        return result._replace(text="1 found", boxes=result.boxes[:1])

    for tool, answer in [(first, f"Yes, there is a {thing}."), (none, f"No {thing} is there.")]:
        agent = Agent(talker, Toolbox([FunctionTool(tool, "grounding_dino")]), FORM, Bounds(turns=3))
        trace = agent.answer(f"Is there a {thing}?", [image])
        assert trace.steps[2].arguments == {"caption": thing}
        assert trace.value == answer, [step.text for step in trace.steps]
