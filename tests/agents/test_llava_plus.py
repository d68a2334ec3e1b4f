"""Replies in the published form and all the ways they are written wrong; nothing that a model says raises."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anyx.agents.forms import Observed
from anyx.agents.interfaces import Call, Gallery, Result
from anyx.agents.llava_plus import LlavaPlus, written
from anyx.grounding.boxes import Size
from anyx.tools.interfaces import Found

FORM = LlavaPlus()
DETECT = Call("grounding_dino", {"caption": "dog"})
ACTION = '[{"API_name": "grounding_dino", "API_params": {"caption": "dog"}}]'


@pytest.mark.parametrize(
    "text",
    [
        f'"thoughts🤔" I look.\n"actions🚀" {ACTION}\n"value👉" Wait.',
        f'"thoughts🤔": "I look.",\n"actions🚀": {ACTION},\n"value👉": "Wait."',
        f"thoughts🤔 I look. actions🚀 {ACTION} value👉 Wait.",
        f"“thoughts🤔” I look.\n“actions🚀” {ACTION}\n“value👉” Wait.",
        f"Thoughts: I look.\nActions: {ACTION}\nValue: Wait.",
        f'"value👉" Wait.\n"thoughts🤔" I look.\n"actions🚀" {ACTION}',
        f'"thoughts🤔" I look.\n"actions🚀" ```json\n{ACTION}\n```\n"value👉" Wait.',
        f'"thoughts🤔" I look.\n"actions🚀" {ACTION[1:-1]}\n"value👉" Wait.',
        '"thoughts🤔" I look.\n"actions🚀" ' + ACTION.replace('"', "'") + '\n"value👉" Wait.',
        '"thoughts🤔" I look.\n"actions🚀" ' + ACTION.replace("}", ",}").replace("]", ",]") + '\n"value👉" Wait.',
    ],
)  # fmt: skip
def test_one_reply_in_many_hands(text: str) -> None:
    said = FORM.read(text)
    assert (said.thought, said.calls, said.value, said.problem) == ("I look.", (DETECT,), "Wait.", None)


def test_what_is_written_is_read() -> None:
    calls = (DETECT, Call("calculator", {"expression": "3 * 4"}))
    said = FORM.read(written('He said "hm".', calls, "It is ”12”."))
    assert said == (('He said "hm".'), calls, "It is ”12”.", None)


@pytest.mark.parametrize(
    ("text", "thought", "value"),
    [
        ("There is a dog.", "", "There is a dog."),
        ("The value of it is 3; my thoughts: none.", "", "The value of it is 3; my thoughts: none."),
        ('"thoughts🤔" I know.\n"actions🚀" []\n"value👉" A dog.', "I know.", "A dog."),
        ('"thoughts🤔" I know.\n"value👉" A dog.', "I know.", "A dog."),
        ('"thoughts🤔" I know.\n"actions🚀" None\n"value👉" "A dog."', "I know.", "A dog."),
        ('"actions🚀"\n"value👉"', "", ""),
    ],
)
def test_answers(text: str, thought: str, value: str) -> None:
    assert FORM.read(text) == (thought, (), value, None)


@pytest.mark.parametrize(
    ("actions", "said"),
    [
        ('[{"API_name": "dino"', "it is no JSON"),
        ("dog", "it is no JSON"),
        ("3", "an action is"),
        ('[{"name": "dino"}]', "an action is"),
        ('[{"API_name": 3}]', "an action is"),
        ('[{"API_name": "dino", "API_params": "dog"}]', '"API_params" is a mapping'),
        ("[" * 5000, "nested deeper"),
        ("-" * 5000 + "1", "nested deeper"),
        ('["' + "a" * 20000 + '"]', "16384 at most"),
        ("[" + ", ".join([ACTION[1:-1]] * 9) + "]", "9 actions were given; 8 at most"),
    ],
)
def test_actions_that_cannot_be_read(actions: str, said: str) -> None:
    found = FORM.read(f'"thoughts🤔" Hm.\n"actions🚀" {actions}\n"value👉" Wait.')
    assert found.calls == ()
    assert said in (found.problem or "")
    assert FORM.complained("What?", found.problem or "").startswith("error: the field ")


def test_neither_action_nor_value() -> None:
    assert FORM.read('"thoughts🤔" Hm.').problem == 'the reply has neither actions nor a field "value👉"'


PIECES = ['"', "'", "thoughts", "actions", "value", "🤔", "🚀", "👉", ":", "\n", " ", "[", "]", "{",
          "}", ",", "API_name",
          "API_params", "dino", "\\", "```", "(", "-", "null", "1e999",
          "\ud800", "\x00"]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=60).map("".join)))
@example("[" * 100000)
@example('"actions🚀" ' + "{1:" * 4000)
@example('"actions🚀" ' + '"' * 100000)
@example("\n" * 50000 + "value" * 10000)
@example('"actions🚀" [' + "not " * 4000 + "1]")
def test_nothing_that_a_model_says_raises(text: str) -> None:
    said = FORM.read(text)
    assert (said.problem is not None) or said.calls or said.value is not None
    assert all(isinstance(key, str) for call in said.calls for key in call.arguments)


def test_results_are_told_as_published() -> None:
    """Boxes are shares to 2 decimals: 10 of 40 is 0.25, 20 of 60 is 0.33; masks and pictures are not in the text."""
    result = Result("1 found", (), (Found("dog", (10, 20, 40, 60), 0.876),), Size(40, 60))
    other = Observed(Call("draw", {}), Result("drawn"), ("<image 2>",))
    told = FORM.told("How many dogs?", [Observed(DETECT, result), other], Gallery())
    assert told == (
        'grounding_dino model outputs: {"boxes": [[0.25, 0.33, 1.0, 1.0]], "logits": [0.88], "phrases": ["dog"]}\n'
        'draw model outputs: {"text": "drawn", "media": ["<image 2>"]}\n\n'
        "Please summarize the model outputs and answer my first question: How many dogs?"
    )


def test_a_model_may_be_taught() -> None:
    from scripted import add

    from anyx.agents.specs import spec_of

    assert LlavaPlus().system([spec_of(add)]) == ""
    taught = LlavaPlus(teach=True).system([spec_of(add)])
    assert '"description": "Add two whole numbers."' in taught
    assert '"actions🚀"' in taught
