"""The connectors that are compared: each builds in the one line of the YAML that it stands in, and is counted."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from anyx.config import load
from anyx.evaluation import evaluate
from anyx.evaluation.corpus import Message
from anyx.imports import import_file
from anyx.media import Image
from anyx.reply import Reply

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


class Namer:
    """Says of everything that it is the first thing asked for: right once a split."""

    def generate(
        self, conversations: Sequence[Sequence[Message]], *, max_new_tokens: int, seeds: Sequence[int]
    ) -> list[Reply]:
        corpus = import_file(FOLDER / "pictures.py").PictureCorpus()
        assert all(isinstance(turns[0]["content"][0]["media"], Image) for turns in conversations)
        return [Reply([corpus.label(corpus.chosen("seen", 1)[0])]) for _ in conversations]


def test_pictures_are_judged_alone(tmp_path: Path) -> None:
    found = evaluate(FOLDER, tmp_path, model=Namer(), limit=4, show=False)
    for split in ("seen", "unseen"):
        assert list(found[split]) == ["image->text"]
        cell = found[split]["image->text"]
        assert (cell["n"], cell["top1"], cell["ceiling"]) == (4, 0.25, 1)
