"""What a server is set up with, and what clients may ask of its decoders."""

from __future__ import annotations

from typing import Any

import pytest

from anyx.serving.problems import Problem
from anyx.serving.settings import CEILINGS, Settings


@pytest.mark.parametrize("key", ["", " ", "\t", " secret", "secret\n"])
def test_a_key_that_lets_in_whoever_sends_none_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r"^keys: a blank one was given") as refused:
        Settings(name="x", keys=("first", key))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("ask", ["draw", "", "{prompt} and {prompt}"])
def test_how_a_medium_is_asked_for_says_where_the_words_stand(ask: str) -> None:
    with pytest.raises(ValueError, match=r"^ask image: .* it says once by {prompt}"):
        Settings(name="x", asks={"image": ask})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"size": 193}, "size: 193 given; the most here is 192, and `anyx serve --most size=NUMBER` sets it"),
        ({"size": [192, 1000]}, "size: [192, 1000] given; the most here is 192"),
        ({"size": [[2**99]]}, "the most here is 192"),
        ({"steps": 201}, "steps: 201 given; the most here is 200, and `anyx serve --most steps=NUMBER`"),
        ({"frames": 129}, "frames: 129 given; the most here is 128"),
        ({"size": 192, "frames": 128, "latents": 1}, "latents: not taken here; clients may say steps"),
    ],
)
def test_what_is_beyond_a_ceiling_is_named_with_it(given: dict[str, Any], told: str) -> None:
    with pytest.raises(Problem) as refused:
        Settings(name="x").within({"image": given}, {"image": 192})
    assert refused.value.status == 400
    assert told in refused.value.message


def test_the_pixels_of_all_frames_are_counted_together() -> None:
    with pytest.raises(Problem, match=r"^decode\.video\.size: 134217728 pixels in all frames together"):
        Settings(name="x").within({"video": {"size": [1024, 1024], "frames": 128}}, {"video": 1024})


def test_what_is_within_them_is_taken() -> None:
    Settings(name="x").within({"image": {"size": [192, 8], "steps": 200}, "audio": {"seconds": 60}}, {"image": 192})
    said = Settings(name="x", ceilings={**CEILINGS, "size": 512})
    said.within({"image": {"size": 512}}, {"image": 192})
    with pytest.raises(Problem, match="513 given; the most here is 512"):
        said.within({"image": {"size": 513}}, {"image": 192})
