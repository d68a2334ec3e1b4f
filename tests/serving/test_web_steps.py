"""What the page is sent of an agent's steps, where a tool or a model says what it should not."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyx.agents.steps import Clock
from anyx.media import Audio, Image
from anyx.serving.web_examples import sample
from anyx.serving.web_shelf import Shelf
from anyx.serving.web_steps import BOXES, LETTERS, Steps, regions


def test_media_and_hostile_words(tmp_path: Path) -> None:
    steps, clock = Steps(Shelf(tmp_path)), Clock()
    picture, sound = sample(Image), sample(Audio)
    steps.hear(clock.step("asked", "<b>?</b>", media={"<image 1>": picture}))  # type: ignore[dict-item]
    steps.hear(clock.step("action", "", tool="<i>", arguments={"<u>": "\ud800<s>"}))
    made = {"<audio 1>": sound}
    steps.hear(clock.step("result", "x" * 2 * LETTERS, media=made, data={"boxes": [[0, 0, 1, 1]]}))  # type: ignore[arg-type]
    html = steps.html(running=False)
    html.encode()
    assert not any(tag in html for tag in ("<b>?", "<i>", "<u>", "<s>", "<image 1>"))
    assert "<audio controls" in html
    assert 'class="boxes"' in html
    assert "x" * (LETTERS + 1) not in html
    assert len(list(tmp_path.rglob("*.*"))) == 3


@pytest.mark.parametrize(
    "data",
    [
        {"boxes": "many"},
        {"boxes": [[0, 0, 1], [0, 0, 2, 2], [1, 1, 0, 0], ["a"] * 4, None, [float("nan")] * 4]},
        {"regions": [1, {}, {"box": {}}]},
    ],
)
def test_boxes_that_are_none_are_left_out(data: dict[str, object]) -> None:
    assert regions(data) == []
    assert len(regions({"boxes": [[0, 0, 1, 1]] * 99, "phrases": ["a"]})) == BOXES
