"""Ablations: every variant goes on from one beginning, whose weights it takes, and measures one route."""

from pathlib import Path

import pytest

from anyx.config import load
from anyx.evaluation.run import opened

HERE = Path(__file__).parents[2] / "experiments" / "ablations"


@pytest.mark.parametrize(("name", "route"), [("inputs", "image->text"), ("outputs", "text->image")])
def test_a_variant_goes_on_from_the_beginning(name: str, route: str) -> None:
    first, then = load(HERE / name / "first.yaml", []), load(HERE / name / "experiment.yaml", [])
    (stage,) = then.stages.values()
    assert stage.init is not None
    folder, last = Path(stage.init).parts[-2:]
    assert last == list(first.stages)[-1]
    assert f"--out runs/ablations/{folder}" in (HERE / name / "first.yaml").read_text()
    assert first.llm == then.llm
    assert first.encoders == then.encoders
    assert opened(HERE / name, []).settings.cells == [route]
