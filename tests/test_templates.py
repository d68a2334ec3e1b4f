"""Templates are named or spelt out; a typo in either is one line."""

import pytest

from anyx.templates import TEMPLATES, Joined, Template, Turn


def test_a_template_reads_back() -> None:
    for name, template in TEMPLATES.items():
        assert Template.of(name) == Template.of(template.to_dict()) == Template.of(template) == template


def test_ways_of_tokenising_read_back() -> None:
    given = {"user": {"apart": True}, "assistant": {}, "first": {"prefix": "Q"}, "joined": {"bos_after": ["video"]}}
    template = Template.of(given)
    assert (template.user.apart, template.first, template.tight) == (True, Turn("Q"), False)
    assert template.joined == Joined(("video",))
    assert Template.of(template.to_dict()) == template


def test_the_system_s_turn_may_be_left_out() -> None:
    assert Template.of({"user": {"prefix": "Q: "}, "assistant": {}}).system == Turn()


def test_a_task_is_asked_in_the_model_s_own_form() -> None:
    template = Template.of("minigpt_v2")
    tags = ["vqa", "caption", "grounding", "refer", "detection", "identify"]
    assert [template.asked(task, "a dog") for task in tags] == [f"[{task}] a dog" for task in tags]
    assert template.asked("grounding", "") == "[grounding]"
    assert Template.of("qwen_vl").asked("refer", "a dog") == "<ref>a dog</ref>"
    with pytest.raises(ValueError, match="task: 'vqa' is not one of none: this template has none"):
        Template.of("chatml").asked("vqa", "")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("chatmal", "template: 'chatmal' is not one of chatml"),
        ({"user": {}}, r"missing keys \['assistant'\]"),
        (
            {"user": {"prefx": "a"}, "assistant": {}},
            r"template.user: {'prefx': 'a'} was given; its keys are prefix, end",
        ),
        ({"user": "a", "assistant": {}}, "template.user: 'a' was given"),
        ({"user": {}, "assistant": {}, "first": {"tale": ""}}, r"template.first: {'tale': ''} was given; its keys"),
        ({"user": {}, "assistant": {}, "joined": {"bos": 1}}, r"template.joined: {'bos': 1} was given; its keys"),
        (
            {"user": {}, "assistant": {}, "tasks": {"vqa": "[vqa]"}},
            r"template.tasks.vqa: '\[vqa\]' given; it says once",
        ),
        (
            {"user": {}, "assistant": {}, "joined": {"labels": "all"}},
            "template.joined.labels: 'all' is not one of rounds",
        ),
    ],
)
def test_a_typo_is_named(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Template.of(value)  # type: ignore[arg-type]
