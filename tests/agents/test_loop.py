"""The loop with a scripted model and real tools: what is run, what the model is told, and every bound."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from scripted import Script, add, broken, corner, invert

from anyx.agents.llava_plus import LlavaPlus, written
from anyx.agents.loop import Agent, Bounds
from anyx.agents.react import React
from anyx.agents.steps import Trace
from anyx.agents.toolbox import Call, Toolbox
from anyx.media import Image
from anyx.watching import Watch

IMAGE = Image(torch.zeros(3, 40, 60, dtype=torch.uint8))
TOOLS = [add, corner, invert, broken]
AGAIN = written("More.", [Call("add", {"a": 1})], "Wait.")
END = written("I know.", [], "It is 5.")


def kinds(trace: Trace) -> list[str]:
    return [step.kind for step in trace.steps]


def agent(*replies: Any, form: Any = None, reads: Any = (), **bounds: Any) -> tuple[Agent, Script]:
    script = Script(*replies, reads=reads)
    return Agent(script, Toolbox(TOOLS), form or LlavaPlus(), Bounds(**bounds)), script


def test_a_question_in_the_form_of_llava_plus() -> None:
    both = [Call("add", {"a": 2, "b": 3}), Call("corner", {})]
    made, script = agent(written("Add.", both, "Wait."), END, reads=["image"])
    trace = made.answer("What is 2 + 3?", [IMAGE])
    assert kinds(trace) == ["asked", "thought", "action", "result", "action", "result", "thought", "value"]
    assert [step.turn for step in trace.steps] == [0, 1, 1, 1, 1, 1, 2, 2]
    assert trace.value == "It is 5."
    assert [step.text for step in trace.steps[2:6]] == [
        'add {"a": 2, "b": 3}', "5", "corner {}", "1 found; corner at [0.0, 0.0, 0.5, 0.5] (0.88)",
    ]  # fmt: skip
    assert script.sent[0] == [
        {"role": "user", "content": [{"type": "image", "media": IMAGE}, {"type": "text", "text": "What is 2 + 3?"}]}
    ]
    assert [one["role"] for one in script.sent[1]] == ["user", "assistant", "user"]
    assert script.sent[1][2]["content"] == (
        'add model outputs: {"text": "5"}\n'
        'corner model outputs: {"boxes": [[0.0, 0.0, 0.5, 0.5]], "logits": [0.88], "phrases": ["corner"]}\n\n'
        "Please summarize the model outputs and answer my first question: What is 2 + 3?"
    )
    at = [step.at for step in trace.steps]
    assert at == sorted(at)
    assert script.closed == 2


def test_a_model_that_reads_words_alone() -> None:
    """Pictures are handles: the tool's new one can be used at once, and a reply ends where a tool would speak."""
    replies = [
        'Thought: turn it\nAction: invert\nAction Input: {"image": "<image 1>"}\nObservation: I make this up',
        'Thought: again\nAction: invert\nAction Input: {"image": "<image 2>"}',
        "Thought: done\nFinal Answer: see <image 3>",
    ]
    made, script = agent(*replies, form=React())
    trace = made.answer("Turn it twice.", [IMAGE])
    assert trace.value == "see <image 3>"
    assert list(trace.media) == ["<image 1>", "<image 2>", "<image 3>"]
    assert torch.equal(trace.media["<image 3>"].pixels, IMAGE.pixels)  # type: ignore[union-attr]
    assert script.sent[0][0]["role"] == "system"
    assert script.sent[0][1] == {"role": "user", "content": "<image 1>\nTurn it twice."}
    assert script.sent[1][2]["content"] == replies[0].split("Observation")[0]
    assert script.sent[1][3]["content"] == "Observation: turned around; new: <image 2>"


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Action: ad\nAction Input: {}", "Observation: error: there is no tool 'ad'. Did you mean: 'add'?"),
        ("Action: add\nAction Input: {}", "Observation: error: add takes a, b: 'a' is missing"),
        ("Action: invert\nAction Input: {'image': '<image 9>'}", "it has: <image 1>"),
        ("Action: broken\nAction Input: {'text': 'x'}", "Observation: error: broken failed: RuntimeError"),
        ("Action: add\nAction Input: {", 'Observation: error: "Action Input:" cannot be read'),
    ],
)
def test_what_goes_wrong_is_told(reply: str, said: str) -> None:
    made, script = agent(reply, "Final Answer: 5", form=React())
    trace = made.answer("?", [IMAGE])
    assert "error" in kinds(trace)
    assert trace.value == "5"
    assert said in script.sent[1][-1]["content"]


def test_a_broken_reply_in_the_form_of_llava_plus_is_told() -> None:
    made, script = agent('"thoughts🤔" Hm.\n"actions🚀" [{"API_name\n"value👉" Wait.', END)
    assert kinds(made.answer("?")) == ["asked", "thought", "error", "thought", "value"]
    assert script.sent[1][-1]["content"].startswith('error: the field "actions🚀" cannot be read: it is no JSON')


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"turns": 2}, "no answer after 2 turns, which bounds.turns allows"),
        ({"calls": 2}, "the model wants more than 2 calls, which bounds.calls allows"),
        ({"seconds": 1e-9}, "the 1e-09 s are over, which bounds.seconds allows"),
    ],
)
def test_bounds(bounds: dict[str, Any], said: str) -> None:
    made, _ = agent(AGAIN, **bounds)
    trace = made.answer("?")
    assert (trace.steps[-1].kind, trace.steps[-1].text, trace.value) == ("stop", said, None)


def test_seconds_bound_a_slow_model_and_a_slow_tool() -> None:
    def wait() -> str:
        """Wait."""
        time.sleep(1)
        return "late"

    slow = Agent(Script("a" * 3000, pause=0.02), Toolbox([]), LlavaPlus(), Bounds(seconds=0.2))
    began = time.monotonic()
    assert slow.answer("?").steps[-1].text == "the 0.2 s are over, which bounds.seconds allows"
    box = Toolbox([wait])
    busy = Agent(Script(written("", [Call("wait", {})], ""), END), box, LlavaPlus(), Bounds(call_seconds=0.1))
    trace = busy.answer("?")
    assert [step.text for step in trace.steps if step.kind == "error"] == ["error: wait did not answer within 0.1 s"]
    assert trace.value == "It is 5."
    assert time.monotonic() - began < 20


def test_bytes_and_letters_bound_what_comes_back() -> None:
    def talk() -> str:
        """Talk."""
        return "a" * 500

    call = written("", [Call("invert", {})], "")
    made, _ = agent(call, call, END, bytes=3 * 40 * 60)
    told = kinds(made.answer("?", [IMAGE]))
    assert told == ["asked", "action", "result", "action", "error", "thought", "value"]
    script = Script(written("", [Call("talk", {})], ""), "b" * 500)
    trace = Agent(script, Toolbox([talk]), LlavaPlus(), Bounds(letters=100)).answer("?")
    assert '"text": "' + "a" * 100 + ' ..."' in script.sent[1][-1]["content"]
    assert trace.value == "b" * 100


@pytest.mark.parametrize("name", ["turns", "calls", "seconds", "bytes", "letters", "call_seconds"])
def test_bounds_that_bound_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"bounds.{name}: a number > 0, but 0 was given"):
        Bounds(**{name: 0})


def test_a_run_is_cancelled_in_its_words_and_in_a_tool() -> None:
    def wait(watch: Watch) -> str:
        """Wait."""
        while not watch.cancelled:
            time.sleep(0.01)
        return ""

    for talker, tools in [
        (Script("a" * 9000, pause=0.01), [add]),
        (Script(written("", [Call("wait", {})], "")), [wait]),
    ]:
        watch = Watch()
        threading.Timer(0.1, watch.cancel).start()
        steps = list(Agent(talker, Toolbox(tools), LlavaPlus()).run("?", watch=watch))
        assert (steps[-1].kind, steps[-1].text) == ("stop", "cancelled")
        assert talker.closed == 1


def test_steps_come_as_they_happen() -> None:
    """Whoever stops listening stops the model."""
    made, script = agent(AGAIN)
    run = made.run("?")
    assert [next(run).kind for _ in range(3)] == ["asked", "words", "words"]
    run.close()
    assert script.closed == 1


def test_media_that_the_model_makes_itself_get_handles() -> None:
    made, _ = agent(IMAGE)
    trace = made.answer("Draw.")
    steps = list(made.run("Draw."))
    assert trace.value == "<image 1>"
    assert [list(step.media) for step in steps if step.kind == "words"] == [["<image 1>"]]


def test_what_was_said_before_is_read_too() -> None:
    made, script = agent(END)
    history = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    list(made.run("?", history=history))
    assert [one["content"] for one in script.sent[0]] == ["Hi.", "Hello.", "?"]


def test_a_trace_on_disk(tmp_path: Path) -> None:
    made, _ = agent(written("Turn.", [Call("invert", {})], "Wait."), END)
    files = made.answer("Turn it.", [IMAGE]).save(tmp_path / "out")
    assert [path.name for path in files] == ["trace.json", "image_1.png", "image_2.png"]
    kept = json.loads(files[0].read_text())
    assert kept["value"] == "It is 5."
    assert kept["media"] == {"<image 1>": "image_1.png", "<image 2>": "image_2.png"}
    assert kept["steps"][2] | {"at": 0} == {
        "kind": "action", "text": "invert {}", "turn": 1, "at": 0, "seconds": 0.0, "tool": "invert", "arguments": {},
    }  # fmt: skip
    assert kept["steps"][3]["media"] == ["<image 2>"]
    assert int(Image.read(files[2]).pixels.min()) == 255
