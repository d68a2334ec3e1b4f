"""What of a YAML no model could use: names of ports, marks and tasks of a template, sizes of encoders."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from test_config import MODEL, errors, write

from anyx.config import load


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("values", "is a name that PyTorch's modules have for themselves"),
        ("text", "stands for words in a conversation, which need no port"),
    ],
)
def test_a_port_that_could_not_be_used_is_refused(key: str, why: str, tmp_path: Path) -> None:
    found = errors(tmp_path, inputs={key: MODEL["inputs"]["image"] | {"media": "image"}}, stages={})
    assert found == [f"inputs.{key}: the key {key!r} {why}; name it otherwise"]


def test_a_template_has_marks_for_every_input(tmp_path: Path) -> None:
    """Of the LLM and of a stage: at its first record it would be too late."""
    turns = {"user": {}, "assistant": {}}
    wrong = turns | {"media_start": {"imgae": "<"}, "media_end": {}, "tasks": {"vqa": "Question"}}
    stage = MODEL["stages"]["encode"]
    found = errors(tmp_path, llm={"path": "x", "template": wrong}, stages={"a": stage | {"template": wrong}})
    told = [
        "tasks.vqa: 'Question' given; it says once by {} where the words stand",
        "media_start: says nothing of image; it names every input, or is one text",
        "media_end: says nothing of image; it names every input, or is one text",
    ]
    assert found == [f"{path}.template.{line}" for path in ("llm", "stages.a") for line in told]
    right = turns | {"media_start": {"image": "<", "more": "["}, "media_end": ">"}
    load(write(tmp_path / "right.yaml", MODEL | {"llm": {"path": "x", "template": right}, "stages": {}}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "beats", "kernel": 0},
        {"type": "beats", "buckets": 0},
        {"type": "beats", "patch": 0},
        {"type": "beats", "residual": -1},
        {"type": "point_bert", "width": 0},
        {"type": "point_bert", "layers": 0},
        {"type": "eva_video", "frames": 0},
        {"type": "eva_video", "mlp_ratio": 0},
    ],
    ids=str,
)
def test_sizes_of_encoders_that_cannot_be_meant_are_refused(wrong: dict[str, object], tmp_path: Path) -> None:
    name = list(wrong)[1]
    (found,) = errors(tmp_path, encoders={"vision": wrong}, stages={})
    assert found.startswith(f"encoders.vision.{name}: must be")
    assert found.endswith(f", but {wrong[name]} was given")


def test_how_an_output_is_asked_for_says_where_the_words_stand(tmp_path: Path) -> None:
    config = load(write(tmp_path / "a.yaml", MODEL), ["outputs.image.ask='Draw {prompt}.'"])
    assert config.outputs["image"].ask == "Draw {prompt}."
    assert load(write(tmp_path / "b.yaml", yaml.safe_load(config.to_yaml()))) == config
    for wrong in ("'Draw it.'", "'{prompt} {prompt}'"):
        (line,) = errors(tmp_path, f"outputs.image.ask={wrong}")
        assert line.startswith(f"outputs.image.ask: {wrong} given; it says once by {{prompt}} where the words stand")
    assert errors(tmp_path, "outputs.image.ask=3") == ["outputs.image.ask: must be str or null, but 3 was given"]
