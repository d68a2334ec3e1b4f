"""Answers of yes or no against published scorers: MME and POPE."""

from __future__ import annotations

from typing import Any

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.mme import mme
from anyx.scoring.parsers import PARSERS
from anyx.scoring.pope import pope


@pytest.mark.parametrize("place", keys("mme", "parse_cases"))
def test_mme_labels(place: int) -> None:
    case = golden("mme")["parse_cases"][place]
    assert PARSERS["mme@official"](case["prediction"]) == case["label"]


@pytest.mark.parametrize("task", keys("mme", "expected", "per_task"))
def test_mme_subtasks(task: str) -> None:
    data = golden("mme")
    found, wanted = mme(data["rows"]).details[task], data["expected"]["per_task"][task]
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, abs=tolerance("mme"))


def test_mme_sums() -> None:
    data = golden("mme")
    found, wanted = mme(data["rows"]), data["expected"]
    assert set(found.details) == set(wanted["per_task"])
    for ours, theirs in {"total": "total", "perception": "Perception", "cognition": "Cognition"}.items():
        assert found.figures[ours] == pytest.approx(wanted[theirs], abs=tolerance("mme"))


def pope_rows() -> list[dict[str, Any]]:
    return [{**row, "answer": row["label"]} for row in golden("pope")["rows"]]


@pytest.mark.parametrize("place", keys("pope", "rows"))
def test_pope_labels(place: int) -> None:
    row = golden("pope")["rows"][place]
    assert PARSERS["pope@llava"](row["prediction"]) == row["expected_label"]


@pytest.mark.parametrize("category", keys("pope", "expected"))
def test_pope_categories(category: str) -> None:
    wanted = dict(golden("pope")["expected"][category])
    lmms = wanted.pop("lmms_eval", {})
    renamed = {"f1" if key == "f1_score" else key: value for key, value in wanted.items()}
    found = pope(pope_rows()).details[category]
    assert {key: found[key] for key in renamed} == pytest.approx(renamed, abs=tolerance("pope"))
    assert not [key for key in found if "BUG" in key]
    found = pope(pope_rows(), parser="pope@lmms").details[category]
    assert {key: found[key] for key in lmms} == pytest.approx(lmms, abs=tolerance("pope"))
