import pytest

from anyx.scoring.mme import mme
from anyx.scoring.pope import pope


def pictures(category: str, *said: tuple[str, str]) -> list[dict[str, str]]:
    """Two rows a picture, the first of yes and the second of no."""
    return [
        {"category": category, "question_id": f"{place}.jpg", "answer": answer, "prediction": text}
        for place, pair in enumerate(said)
        for answer, text in zip(("Yes", "No"), pair, strict=True)
    ]


MME = pictures("existence", ("yes", "no"), ("Yes.", "Yes.")) + pictures("code_reasoning", ("perhaps", "No"))


def test_mme_sums_what_subtasks_score() -> None:
    # existence: 3 of 4 answers and 1 of 2 pictures right, 75 + 50 = 125; code_reasoning: 1 of 2 and 0 of 1, 50 + 0
    found = mme(MME)
    assert found.figures == pytest.approx(
        {"total": 175, "perception": 125, "cognition": 50, "acc": 100 * 4 / 6, "acc_plus": 100 / 3}
    )
    assert found.details["existence"] == {
        "score": 125, "acc": 75, "acc_plus": 50, "TP": 2, "FN": 0, "TN": 1, "FP": 1,
        "precision": pytest.approx(2 / 3), "recall": 1, "other_num": 0,
    }  # fmt: skip
    assert found.details["code_reasoning"]["other_num"] == 1  # in no cell: recall is 0 of 0
    assert found.details["code_reasoning"]["recall"] == 0
    # points 200 and 50 on two of three pictures, 50 on one: times 3/2, 3/2 and 3
    assert found.items == [300, 75, 150]
    assert sum(found.items) / 3 == found.figures["total"]
    assert found.by == {"parser": "mme@official"}


def test_mme_has_no_sum_of_what_was_not_asked() -> None:
    assert mme(pictures("OCR", ("yes", "no"))).figures["cognition"] is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "mme: no rows to score"),
        (MME[:3], "mme: existence does not come in pairs"),
        ([MME[0], MME[2], MME[1], MME[3]], "mme: existence does not come in pairs"),
        ([{**MME[0], "category": "colour"}, MME[1]], "mme: no category colour; allowed: existence, count"),
        ([{**MME[0], "answer": "maybe"}, MME[1]], "mme: the answer of row 0 is 'maybe'; allowed: yes, no"),
        ([{**MME[0], "prediction": None}, MME[1]], "mme: row 0 has prediction None; it has to be a text"),
        ([{**MME[0], "answer": None}, MME[1]], "mme: row 0 has answer None; it has to be a text"),
        (["yes"], "mme: row 0 is 'yes'; it has to be a mapping of keys"),
        ([MME[0], {"answer": "No"}], "mme: row 1 has no prediction, category, question_id; a row holds"),
    ],
)
def test_mme_refuses(rows: list[dict[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mme(rows)


def things(category: str, *pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"category": category, "prediction": said, "answer": answer} for said, answer in pairs]


POPE = [
    *things("random", ("Yes", "yes"), ("Yes.", "no"), ("No", "no"), ("no", "yes")),
    *things("popular", ("Yes", "yes"), ("No", "no")),
]


def test_pope_is_the_mean_of_categories() -> None:
    # random: one of each cell, so that all shares are 1/2; popular: all right
    found = pope(POPE)
    assert found.figures == pytest.approx({"accuracy": 4 / 6, "f1": (0.5 + 1) / 2, "yes_ratio": 3 / 6})
    assert found.details["random"] == {
        "TP": 1, "FP": 1, "TN": 1, "FN": 1, "accuracy": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5,
        "yes_ratio": 0.5,
    }  # fmt: skip
    assert found.items == [1, 0, 1, 0, 1, 1]


def test_pope_of_lmms_counts_the_right_answers_only_where_it_is_asked_for() -> None:
    # all said yes and all are no: no yes is right (0.0), each was said (1.0)
    rows = things("random", ("yes", "no"), ("yes", "no"))
    found = pope(rows, parser="pope@lmms").details["random"]
    assert (found["yes_ratio"], found["yes_ratio_BUG_counts_gt"]) == (1.0, 0.0)
    assert "yes_ratio_BUG_counts_gt" not in pope(rows).details["random"]
    # "Yes." is neither yes nor no to it: wrong, and in no cell
    found = pope(POPE, parser="pope@lmms").details["random"]
    assert (found["FP"], found["accuracy"], found["precision"]) == (0, 0.5, 1)
    with pytest.raises(ValueError, match="pope: the answer of row 0 is 'maybe'; allowed: yes, no"):
        pope(things("random", ("yes", "maybe")))
    with pytest.raises(ValueError, match="pope: row 1 has answer None; it has to be a text"):
        pope([POPE[0], {**POPE[1], "answer": None}])  # type: ignore[dict-item]
