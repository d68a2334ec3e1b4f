"""Average precision and recall of boxes against pycocotools'."""

from __future__ import annotations

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.detection import detection

NAME = "detection_coco_map"


@pytest.mark.parametrize("figure", keys(NAME, "expected"))
def test_figures(figure: str) -> None:
    found, wanted = detection(golden(NAME)["rows"]).figures[figure], golden(NAME)["expected"][figure]
    assert (-1 if found is None else found) == pytest.approx(wanted, abs=tolerance(NAME))
