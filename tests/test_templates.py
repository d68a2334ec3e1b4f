"""Templates are named or spelt out; a typo in either is one line."""

import pytest

from anyx.templates import TEMPLATES, Template, Turn


def test_a_template_reads_back() -> None:
    for name, template in TEMPLATES.items():
        assert Template.of(name) == Template.of(template.to_dict()) == Template.of(template) == template


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
    ],
)
def test_a_typo_is_named(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Template.of(value)  # type: ignore[arg-type]
