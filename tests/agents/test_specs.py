"""Specs of functions, by hand, and arguments that fit them or do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest

from anyx.agents.specs import Spec, schema_of, spec_of
from anyx.media import Audio, Image
from anyx.watching import Watch


def every(
    image: Image,
    words: Annotated[str, "what to look for"],
    watch: Watch,
    how: Literal["fast", "well"] = "fast",
    boxes: list[list[float]] = (),  # type: ignore[assignment]
    sound: Audio | None = None,
    most: int = 3,
    share: float = 0.5,
    all: bool = False,
) -> str:
    """Look for something.

    More than a model needs to know.
    """
    return words


def test_a_spec_is_the_function_s_signature() -> None:
    spec = spec_of(every, "look")
    assert spec.plain() == {
        "name": "look",
        "description": "Look for something.",
        "parameters": {
            "type": "object",
            "properties": {
                "image": {"type": "string", "format": "image"},
                "words": {"type": "string", "description": "what to look for"},
                "how": {"type": "string", "enum": ["fast", "well"], "default": "fast"},
                "boxes": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                "sound": {"type": "string", "format": "audio"},
                "most": {"type": "integer", "default": 3},
                "share": {"type": "number", "default": 0.5},
                "all": {"type": "boolean", "default": False},
            },
            "required": ["image", "words"],
        },
    }
    assert Spec.read(json.loads(json.dumps(spec.plain()))) == spec


def test_arguments_that_fit() -> None:
    given = {"image": "<image 1>", "words": "a", "most": "7", "share": 1, "boxes": [["0.1", 0, 1, 1]], "all": True}
    made = spec_of(every).check(given)
    assert made == {**given, "most": 7, "share": 1.0, "boxes": [[0.1, 0.0, 1.0, 1.0]]}
    assert type(made["most"]) is int


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "'image' is missing; 'words' is missing"),
        ({"wordz": "a"}, "there is no 'wordz'. Did you mean: 'words'?"),
        ({"words": 3}, "'words' must be string, but '3' was given"),
        ({"how": "slow"}, "'how' must be one of fast, well, but 'slow' was given"),
        ({"most": 2.5}, "'most' must be integer, but '2.5' was given"),
        ({"most": True}, "'most' must be integer"),
        ({"share": "nan"}, "'share' must be number, but 'nan' was given"),
        ({"share": "1" * 50}, "'share' must be number"),
        ({"all": 1}, "'all' must be boolean"),
        ({"boxes": [0.1]}, "'boxes' must be array, but '0.1' was given"),
        ({"words": "a" * 5000}, "'words' has 5000 characters; 4096 at most"),
        ({"boxes": [[0]] * 5000}, "'boxes' has 5000 items; 4096 at most"),
    ],
)
def test_arguments_that_do_not(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="every takes image, words, how, boxes, sound, most, share, all: ") as error:
        spec_of(every).check(given)
    assert said in str(error.value)


def mute(a: int) -> int:
    return a


def odd(a: dict[str, int]) -> int:
    """Odd."""
    return len(a)


def unknown(a: Nothing) -> str:  # type: ignore[name-defined]
    """Unknown."""
    return str(a)


@pytest.mark.parametrize(
    ("function", "name", "said"),
    [
        (unknown, None, "tools.unknown: its annotations name what cannot be found from its module"),
        (mute, None, "tools.mute: the function has no docstring"),
        (odd, None, r"tools.odd.a: an annotation of dict\[str, int\] was given; allowed: str, int"),
        (every, "two words", "a tool's name is a word of letters, digits and _, but 'two words' was given"),
    ],
)
def test_functions_that_are_no_tools(function: Callable[..., Any], name: str | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spec_of(function, name)


BAD = [{}, {"type": []}, {"type": "string", "enum": 5}, {"type": "string", "enum": [[]]}, {"type": "array", "items": 3}]
NONE: list[Any] = [None, [], {}, {"name": "a"}]
NONE += [{"name": "a b", "description": "", "parameters": {"properties": {}, "required": []}}]
NONE += [{"name": "a", "description": "", "parameters": {"properties": {"b": bad}, "required": []}} for bad in BAD]


@pytest.mark.parametrize("given", NONE)
def test_what_is_no_spec(given: Any) -> None:
    with pytest.raises(ValueError, match="a tool"):
        Spec.read(given)


def test_an_optional_is_its_kind() -> None:
    assert schema_of(int | None) == {"type": "integer"}
