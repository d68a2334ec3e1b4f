"""Keys of an output that say how others ask for it."""

from pathlib import Path

import yaml
from test_config import MODEL, errors, write

from anyx.config import load


def test_how_an_output_is_asked_for_says_where_the_words_stand(tmp_path: Path):
    config = load(write(tmp_path / "a.yaml", MODEL), ["outputs.image.ask='Draw {prompt}.'"])
    assert config.outputs["image"].ask == "Draw {prompt}."
    assert load(write(tmp_path / "b.yaml", yaml.safe_load(config.to_yaml()))) == config
    for wrong in ("'Draw it.'", "'{prompt} {prompt}'"):
        (line,) = errors(tmp_path, f"outputs.image.ask={wrong}")
        assert line.startswith(f"outputs.image.ask: {wrong} given; it says once by {{prompt}} where the words stand")
    assert errors(tmp_path, "outputs.image.ask=3") == ["outputs.image.ask: must be str or null, but 3 was given"]
