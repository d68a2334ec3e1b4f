"""Values are held against annotations, keyword arguments against signatures, by errors that name the key."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from anyx.signatures import Errors, Least, check_keywords, check_value, fits, require


@pytest.mark.parametrize(
    ("value", "hint", "good"),
    [
        (1, float, True),
        (True, int, False),
        (None, int | None, True),
        ("1", int | None, False),
        ([1, 2], tuple[int, ...], True),
        ([1, "2"], Sequence[int], False),
        ("ab", Sequence[str], False),
        ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, Mapping[str, int], False),
        ({"a": "b"}, Mapping[str, Any], True),
        (0, Annotated[int, Least(1)], False),
        (1, Annotated[int, Least(1)] | None, True),
        (5, str | Path, False),
    ],
)
def test_values_fit_annotations(value: object, hint: object, good: bool) -> None:
    assert fits(value, hint) is good


@pytest.mark.parametrize(
    ("value", "hint", "line"),
    [
        (0, Annotated[int, Least(1)] | None, "a: must be int >= 1 or null, but 0 was given"),
        ({"b": {"c": "d"}}, Mapping[str, Mapping[str, int]], "a.b.c: must be int, but 'd' was given"),
        (5, Mapping[str, int] | str, "a: must be a mapping or str, but 5 was given"),
        ("b", Sequence[int], "a: must be a list of int, but 'b' was given"),
        ("b", Literal["c", "d"] | None, "a: 'b' is not one of c, d"),
    ],
)
def test_a_misfit_is_named(value: object, hint: object, line: str) -> None:
    errors = Errors()
    check_value(errors, "a", value, hint)
    assert errors == [line]


def loss(step: object, *, kind: Literal["mse", "cosine"], pads: float = 0.0) -> None:
    """A function whose first argument is wired."""


def test_a_function_is_a_schema() -> None:
    errors = Errors()
    check_keywords(errors, "losses.a", {"kidn": "mse", "weight": 1}, loss, also={"weight": float})
    assert errors == [
        "losses.a.kidn: Key 'kidn' not in 'loss'. Did you mean: 'kind'?",
        "losses.a.kind: is missing; 'loss' requires it",
    ]
    with pytest.raises(ValueError, match=r"^a\.kind: 'l3' is not one of mse, cosine; a\.pads: must be float"):
        require("a", {"kind": "l3", "pads": "x"}, loss)
