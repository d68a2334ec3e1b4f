"""Multiple choice against published scorers: MMBench with CircularEval, ScienceQA, MMMU."""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.circular import mmbench, options
from anyx.scoring.mmmu import mmmu, says
from anyx.scoring.parsers import PARSERS
from anyx.scoring.scienceqa import scienceqa


@pytest.mark.parametrize("place", keys("mmbench_circular", "extraction_cases"))
def test_mmbench_letters(place: int) -> None:
    case = golden("mmbench_circular")["extraction_cases"][place]
    assert PARSERS["mcq@vlmeval"](case["prediction"], case["choices"]) == case["expected"]


@pytest.mark.parametrize("place", keys("mmbench_circular", "rows"))
def test_mmbench_rows(place: int) -> None:
    row = golden("mmbench_circular")["rows"][place]
    assert PARSERS["mcq@vlmeval"](row["prediction"].strip(), options(row)) == row["expected_extracted"]


@pytest.mark.parametrize("figure", keys("mmbench_circular", "expected", "report_acc"))
def test_mmbench_report(figure: str) -> None:
    data = golden("mmbench_circular")
    found = mmbench(data["rows"])
    figures = {"Overall": found.figures["circular"], **found.details["l2-category"], **found.details["category"]}
    assert set(figures) == set(data["expected"]["report_acc"])
    assert figures[figure] == pytest.approx(data["expected"]["report_acc"][figure], abs=tolerance("mmbench_circular"))


def test_mmbench_questions_and_plain_accuracy() -> None:
    wanted, found = golden("mmbench_circular")["expected"], mmbench(golden("mmbench_circular")["rows"])
    assert found.details["question"] == wanted["hit_per_question"]
    near = tolerance("mmbench_circular")
    assert found.figures["vanilla_first"] == pytest.approx(wanted["vanilla_first_rotation_acc"], abs=near)
    assert found.figures["vanilla_all"] == pytest.approx(wanted["vanilla_all_rotations_acc"], abs=near)


@pytest.mark.parametrize("place", keys("scienceqa", "rows"))
def test_scienceqa_rows(place: int) -> None:
    row = golden("scienceqa")["rows"][place]
    letter = PARSERS["sqa@llava"](row["prediction"] or "", dict(zip(ascii_uppercase, row["choices"], strict=False)))
    assert (-1 if letter is None else ascii_uppercase.index(letter)) == row["expected_pred_index"]
    assert scienceqa([row]).items == [float(row["expected_correct"])]
    if row["expected_lmms_eval_exact_match"] is not None:
        assert scienceqa([row], parser="sqa@lmms").items == [row["expected_lmms_eval_exact_match"]]


def test_scienceqa_figures() -> None:
    wanted, rows, near = golden("scienceqa")["expected"], golden("scienceqa")["rows"], tolerance("scienceqa")
    found = scienceqa(rows).figures
    percents = {"acc": 100 * number(found["accuracy"]), "img_acc": 100 * number(found["image_accuracy"])}
    assert percents == pytest.approx({key: wanted[key] for key in percents}, abs=near)
    lmms = scienceqa(rows, parser="sqa@lmms").figures["accuracy"]
    assert lmms == pytest.approx(wanted["lmms_eval_acc_over_answered"], abs=near)


def number(figure: float | None) -> float:
    assert figure is not None
    return figure


def drawn(row: dict[str, Any]) -> bool:
    """Whether the reference drew a letter at random."""
    return bool(row.get("used_random_fallback", False))


@pytest.mark.parametrize("place", keys("mmmu", "rows"))
def test_mmmu_rows(place: int) -> None:
    row = golden("mmmu")["rows"][place]
    if row["question_type"] == "multiple-choice":
        letter = PARSERS["mcq@mmmu"](row["response"], dict(zip(ascii_uppercase, row["options"], strict=False)))
        assert (letter is None) == drawn(row)
        assert letter == row["expected_pred"]
        if not drawn(row):
            assert mmmu([{**row, "prediction": row["response"]}]).items == [float(row["expected_correct"])]
    else:
        found = PARSERS["open@mmmu"](row["response"])
        assert {str(value) for value in found} == set(row["expected_pred_set"])
        answers = [row["answer"]] if isinstance(row["answer"], str) else row["answer"]
        assert says(found, answers) == row["expected_correct"]


def test_mmmu_figures() -> None:
    data, near = golden("mmmu"), tolerance("mmmu")
    found = mmmu([{**row, "prediction": row["response"]} for row in data["rows"] if not drawn(row)])
    assert found.figures["accuracy"] == pytest.approx(data["expected"]["overall"], abs=near)
    assert found.figures["unread"] == 0
    assert set(found.details) == set(data["expected"]["per_subject"])
    for subject, wanted in data["expected"]["per_subject"].items():
        assert found.details[subject]["accuracy"] == pytest.approx(wanted["acc"], abs=near)
        assert found.details[subject]["n"] == wanted["num_example"]
