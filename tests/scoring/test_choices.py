import math

import pytest

from anyx.scoring.circular import mmbench, options
from anyx.scoring.mmmu import mmmu, says
from anyx.scoring.scienceqa import scienceqa
from anyx.scoring.seedbench import seedbench


def rotation(index: int, answer: str, said: str, ability: str = "logic_reasoning") -> dict[str, object]:
    return {
        "index": index, "answer": answer, "prediction": said, "A": "dog", "B": "cat", "C": None, "D": math.nan,
        "category": f"kind of {index % 1_000_000}", "l2-category": ability,
    }  # fmt: skip


def test_mmbench_counts_questions_that_are_right_in_every_rotation() -> None:
    # question 0 right twice, question 1 right, then wrong; question 2 asked once, and not read
    rows = [rotation(0, "A", "A"), rotation(1, "B", "cat"), rotation(2, "A", "neither", "temporal")]
    rows += [rotation(1_000_000, "B", "(B)"), rotation(1_000_001, "A", "B.")]
    found = mmbench(rows)
    assert found.figures == pytest.approx({"circular": 1 / 3, "vanilla_first": 2 / 3, "vanilla_all": 3 / 5})
    assert found.details == {
        "question": {"0": 1, "1": 0, "2": 0},
        "category": {"kind of 0": 1, "kind of 1": 0, "kind of 2": 0},
        "l2-category": {"LR": 0.5, "temporal": 0},  # one of no published name keeps its own
    }
    assert (found.n, found.items) == (3, [1, 0, 0])
    assert options(rows[0]) == {"A": "dog", "B": "cat"}


def test_mmbench_needs_the_question_itself() -> None:
    with pytest.raises(ValueError, match="mmbench: question 7 lacks its first rotation, the row with index 7"):
        mmbench([rotation(1_000_007, "A", "A")])


def question(said: str, answer: object = "B", subject: str = "Art") -> dict[str, object]:
    texts = ["oil", "ink", "clay", "wood"]
    return {
        "question_type": "multiple-choice", "options": texts, "answer": answer, "prediction": said, "subject": subject
    }  # fmt: skip


def number(said: str, answer: object) -> dict[str, object]:
    return {"question_type": "open", "answer": answer, "prediction": said, "subject": "Physics"}


def test_mmbench_leaves_out_blanks_around_an_answer() -> None:
    """Twelve characters are twice those of both options; with the end of a line they would be one too many."""
    row = {"index": 0, "answer": "B", "A": "cat", "B": "dog"}
    said = ["It's a   dog", "It's a   dog\n", " \tIt's a   dog  \n\n"]
    assert [mmbench([{**row, "prediction": text}]).figures["circular"] for text in said] == [1, 1, 1]
    for index in (None, "x", 1.5):
        with pytest.raises(ValueError, match=f"mmbench: row 0 has index {index!r}; it has to be a whole number"):
            mmbench([{**row, "index": index, "prediction": "B"}])


def test_mmmu_mixes_both_types() -> None:
    rows = [question("B"), question("(A)"), question("C", ["B", "C"]), number("So x = 3.14159", "3.14")]
    found = mmmu([*rows, number("a blue whale", "blue")])
    assert found.figures == {"accuracy": 4 / 5, "unread": 0}
    assert found.details == {"Art": {"accuracy": pytest.approx(2 / 3), "n": 3}, "Physics": {"accuracy": 1, "n": 2}}


def test_mmmu_draws_where_no_option_is_found() -> None:
    rows = [question("hm") for _ in range(1000)]
    found = mmmu(rows)
    assert 0.2 < (found.figures["accuracy"] or 0) < 0.3  # one in four
    assert found.figures["unread"] == 1000
    assert mmmu(rows).items == found.items
    assert mmmu(rows, seed=7).items != found.items
    assert mmmu(rows, guess=False).figures["accuracy"] == 0
    with pytest.raises(ValueError, match="mmmu: row 0, a multiple-choice row, has no options, a list of texts"):
        mmmu([{**rows[0], "options": []}])


def test_an_open_answer_is_right_by_number_or_by_holding_the_text() -> None:
    assert says(frozenset({1234.0}), ["1,234"])
    assert not says(frozenset({12345.0}), ["1,234"])
    assert says(frozenset({"the red cat"}), ["dog", "Cat"])
    assert not says(frozenset({"bat"}), ["b"])  # one letter needs a blank beside it
    assert says(frozenset({"plan b "}), ["b"])


def test_scienceqa_and_unanswered_questions() -> None:
    rows = [
        {"choices": ["x", "y"], "answer": 0, "prediction": "A", "has_image": True},
        {"choices": ["x", "y"], "answer": 1, "prediction": "B.", "has_image": True},
        {"choices": ["x", "y"], "answer": 1, "prediction": None, "has_image": True},
        {"choices": ["x", "y"], "answer": 1, "prediction": "B", "has_image": False},
    ]
    found = scienceqa(rows)  # "B." alone is nothing, the unanswered one wrong and without a picture
    assert found.figures == {"accuracy": 2 / 4, "image_accuracy": 1 / 2}
    found = scienceqa(rows, parser="sqa@lmms")
    assert (found.figures, found.n) == ({"accuracy": 1.0, "image_accuracy": 1.0}, 3)
    assert scienceqa(rows[3:]).figures["image_accuracy"] is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prediction": 3}, "row 0 has prediction 3; it has to be a text or None"),
        ({"choices": "xy"}, "row 0 has choices 'xy'; it has to be a list of one text or more"),
        ({"answer": 2}, "the answer of row 0 is 2, but it has 2 choices; allowed: 0 to 1"),
        ({"answer": -1}, "the answer of row 0 is -1, but it has 2 choices; allowed: 0 to 1"),
        ({"answer": None}, "row 0 has answer None; it has to be a whole number"),
    ],
)
def test_scienceqa_refuses(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"scienceqa: {message}"):
        scienceqa([{"choices": ["x", "y"], "answer": 0, "prediction": "A", "has_image": True, **changed}])


def test_seedbench_by_type() -> None:
    said = [("A. dog", "A", "count"), ("no", "B", "count"), (" C", "C", "place")]
    found = seedbench([{"prediction": text, "answer": answer, "data_type": kind} for text, answer, kind in said])
    assert found.figures == pytest.approx({"accuracy": 2 / 3})
    assert found.details == {"count": {"accuracy": 0.5}, "place": {"accuracy": 1}}
