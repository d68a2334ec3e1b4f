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
            {"user": {}, "assistant": {}, "joined": {"labels": "all"}},
            "template.joined.labels: 'all' is not one of rounds",
        ),
    ],
)
def test_a_typo_is_named(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Template.of(value)  # type: ignore[arg-type]
