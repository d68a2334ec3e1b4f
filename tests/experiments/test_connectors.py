"""The connectors that are compared: each builds in the one line of the YAML that it stands in, and is counted."""

from pathlib import Path

import pytest

from anyx.config import load
from anyx.imports import import_file

FOLDER = Path(__file__).parents[2] / "experiments" / "connectors"
compare = import_file(FOLDER / "compare.py")


@pytest.mark.parametrize("name", list(compare.CONNECTORS))
def test_a_connector_is_one_line(name: str) -> None:
    config = load(FOLDER / "connectors.yaml", [f"inputs.image.projector={compare.CONNECTORS[name]}"])
    plain = load(FOLDER / "connectors.yaml")
    assert {key for key in config.raw if config.raw[key] != plain.raw[key]} <= {"inputs"}
    weights, tokens = compare.size(config)
    wanted = {"linear": 1280 * 576 + 576, "mlp": 1280 * 256 + 256 + 256 * 576 + 576}
    assert weights == wanted.get(name, weights)
    assert tokens == {"linear": 16, "mlp": 16, "glu": 18}.get(name, 4)


def test_only_pictures_are_asked() -> None:
    corpus = import_file(FOLDER / "pictures.py").PictureCorpus()
    assert (corpus.keys, corpus.apart, corpus.plain()) == (("text", "image"), {}, [])
    assert len(corpus.labels) == 233
