"""Short answers and boxes against published scorers: VQA, GQA, ANLS, RefCOCO."""

from __future__ import annotations

from typing import Any

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.boxes import boxes
from anyx.scoring.parsers import PARSERS
from anyx.scoring.result import Result
from anyx.scoring.short_answers import anls, exact_match
from anyx.scoring.vqa import vqa

SCORERS = {"vqa@official": "expected_official", "vqa@m4c": "expected_m4c_textvqa"}


@pytest.mark.parametrize("place", keys("vqa_accuracy", "normalisation_cases"))
def test_vqa_words(place: int) -> None:
    case = golden("vqa_accuracy")["normalisation_cases"][place]
    assert PARSERS["vqa@official"](case["input"]) == case["official"]
    assert PARSERS["vqa@m4c"](case["input"]) == case["m4c"]


@pytest.mark.parametrize("place", keys("vqa_accuracy", "questions"))
def test_vqa_questions(place: int) -> None:
    row = golden("vqa_accuracy")["questions"][place]
    for parser, key in SCORERS.items():
        assert vqa([row], parser=parser).items == pytest.approx([row[key]], abs=tolerance("vqa_accuracy"))


def test_vqa_figures() -> None:
    data, near = golden("vqa_accuracy"), tolerance("vqa_accuracy")
    wanted, found = data["expected"], vqa(data["questions"])
    overall = round(100 * figure(found, "accuracy"), 2)  # as the official scorer rounds percents
    assert overall == pytest.approx(wanted["official_overall"], abs=near)
    for kind, theirs in {"answer_type": "official_perAnswerType", "question_type": "official_perQuestionType"}.items():
        percents = {name: round(100 * (share or 0), 2) for name, share in found.details[kind].items()}
        assert percents == pytest.approx(wanted[theirs], abs=near)
    m4c = vqa(data["questions"], parser="vqa@m4c")
    assert figure(m4c, "accuracy") == pytest.approx(wanted["m4c_overall"], abs=near)


@pytest.mark.parametrize("place", keys("exact_match_anls", "rows"))
def test_short_answers(place: int) -> None:
    row, near = golden("exact_match_anls")["rows"][place], tolerance("exact_match_anls")
    assert exact_match([row]).items == [row["expected_gqa_exact_match"]]
    assert anls([row]).items == pytest.approx([row["expected_anls"]], abs=near)


def test_short_answers_overall() -> None:
    data, near = golden("exact_match_anls"), tolerance("exact_match_anls")
    assert figure(exact_match(data["rows"]), "accuracy") == pytest.approx(data["expected"]["gqa"], abs=near)
    assert figure(anls(data["rows"]), "anls") == pytest.approx(data["expected"]["anls"], abs=near)


def refcoco(row: dict[str, Any]) -> dict[str, Any]:
    return {"box": row["gt"], "prediction": row["prediction_text"]}


@pytest.mark.parametrize("place", keys("refcoco_rec", "rows"))
def test_boxes(place: int) -> None:
    row, near = golden("refcoco_rec")["rows"][place], tolerance("refcoco_rec")
    parsed = PARSERS["box@brackets"](row["prediction_text"])
    assert (parsed or (0, 0, 0, 0)) == tuple(row["expected_parsed"])
    found = boxes([refcoco(row)])
    assert figure(found, "iou") == pytest.approx(row["expected_iou"], abs=near)
    assert figure(found, "acc@0.5") == row["expected_acc50"]
    assert figure(found, "centre") == row["expected_center"]


@pytest.mark.parametrize("name", keys("refcoco_rec", "expected"))
def test_boxes_overall(name: str) -> None:
    data = golden("refcoco_rec")
    ours = {"Center_ACC": "centre"}.get(name, name.lower())
    found = boxes([refcoco(row) for row in data["rows"]])
    assert figure(found, ours) == pytest.approx(data["expected"][name], abs=tolerance("refcoco_rec"))


def figure(result: Result, name: str) -> float:
    found = result.figures[name]
    assert found is not None
    return found
