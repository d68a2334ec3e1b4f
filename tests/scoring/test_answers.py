import pytest

from anyx.scoring.boxes import boxes, iou
from anyx.scoring.short_answers import anls, exact_match
from anyx.scoring.vqa import vqa


def asked(said: str, *answers: str) -> dict[str, object]:
    return {"prediction": said, "answers": list(answers), "answer_type": "number" if said.isdigit() else "other"}


def test_vqa_leaves_each_person_out() -> None:
    # three of ten said dog: two of the other nine, 2/3, where one of the three is left out; 1 for each of the seven
    found = vqa([asked("dog", *["dog"] * 3, *["cat"] * 7), asked("2", *["two"] * 4, *["3"] * 6)])
    assert found.items == pytest.approx([(3 * 2 / 3 + 7) / 10, 1])
    assert found.details["answer_type"] == pytest.approx({"other": 0.9, "number": 1})
    assert found.details["question_type"] == {}


def test_vqa_of_unanimous_people_is_not_normalised_officially() -> None:
    row = asked("Yes", *["yes"] * 10)
    assert vqa([row]).items == [0]
    assert vqa([row], parser="vqa@m4c").items == [1]
    assert vqa([asked(" a\tdog\n", *["a dog"] * 10)]).items == [1]  # but blanks are
    with pytest.raises(ValueError, match=r"vqa: row 0 has answers \[\]; it has to be a list of one text or more"):
        vqa([asked("Yes")])
    with pytest.raises(ValueError, match="vqa: row 1 has answers 'aaaa'; it has to be a list of one text or more"):
        vqa([row, {"prediction": "a", "answers": "aaaa"}])


def test_exact_match_is_with_the_first_reference() -> None:
    rows = [{"prediction": "T-shirt.", "references": ["tshirt", "x"]}, {"prediction": "x", "references": ["y", "x"]}]
    assert exact_match(rows).items == [1, 0]
    with pytest.raises(ValueError, match=r"exact_match: row 0 has references \[\]; it has to be"):
        exact_match([{"prediction": "x", "references": []}])


def test_anls() -> None:
    # kitten to sitting: two letters changed and one added, of seven
    row = {"prediction": "kitten", "references": ["mouse", "Sitting"]}
    assert anls([row]).items == pytest.approx([1 - 3 / 7])
    assert anls([row], threshold=0.6).items == [0]
    # no edits once blanks are folded; with an "s" more one of six characters as given, with both blanks
    assert anls([{"prediction": "a  b", "references": ["A b"]}]).items == [1]
    assert anls([{"prediction": "a  bcs", "references": ["A bc"]}]).items == pytest.approx([1 - 1 / 6])
    assert anls([{"prediction": "", "references": [""]}]).items == [1]
    with pytest.raises(ValueError, match="anls: row 0 has references 'abc'; it has to be a list of one text or more"):
        anls([{"prediction": "abc", "references": "abc"}])


def test_boxes() -> None:
    # a 2 x 2 box moved by (1, 1): 1 of 4 + 4 - 1; by (1, 0): 2 of 6
    assert iou([0, 0, 2, 2], [1, 1, 3, 3]) == pytest.approx(1 / 7)
    assert iou([0, 0, 2, 2], [1, 0, 3, 2]) == pytest.approx(1 / 3)
    assert iou([1, 1, 1, 1], [2, 2, 2, 2]) == 0
    said = ["[0, 0, 2, 2]", "[1, 0, 3, 2]", "[1, 1, 3, 3]", "nowhere"]
    found = boxes([{"prediction": text, "box": [0, 0, 2, 2]} for text in said])
    assert found.figures == pytest.approx(
        {
            "acc@0.5": 1 / 4, "acc@0.1": 3 / 4, "acc@0.3": 2 / 4, "acc@0.7": 1 / 4, "acc@0.9": 1 / 4,
            "iou": (1 + 1 / 3 + 1 / 7) / 4,
            "centre": 1,  # (1, 1), (2, 1), (2, 2) are in or on the edge, and so is (0, 0), which stands for no box
            "unread": 1,
        }
    )  # fmt: skip
    assert found.items == [1, 0, 0, 0]
    for wrong in (None, [0, 0, 1], "0011", [0, 0, 1, "1"]):
        with pytest.raises(ValueError, match=r"boxes: row 0 has box .*; it has to be 4 numbers"):
            boxes([{"prediction": "[0, 0, 1, 1]", "box": wrong}])
