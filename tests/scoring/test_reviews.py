"""Figures from a judge's words; each is worked out by hand beside it."""

import pytest

from anyx.scoring.compare import compare, interval
from anyx.scoring.parsers import PARSERS
from anyx.scoring.reviews import first_places, llava_bench, mm_vet


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("review@line", "8 9\nBecause 3 4", (8, 9)),
        ("review@line", "8,  9.5", (8, 9.5)),
        ("review@line", "Scores: 8 9", None),
        ("review@line", "8", None),
        ("review@line", "", None),
        ("grade@first", "0.6", 0.6),
        ("grade@first", "Grade: 1.0.", 1),
        ("grade@first", "7 of 10", None),
        ("grade@first", "none", None),
        ("grade@first", "-0.5", None),
        ("grade@first", "\u22120.5", None),
        ("grade@first", ".5", 0.5),
        ("grade@first", "Grade-0.5", 0.5),
        ("grade@first", "10.5", None),
        ("review@line", "-8 9", None),
        ("rank@first", "Tie, since 1 is", "tie"),
        ("rank@first", "Assistant 2", "2"),
        ("rank@first", "12", None),
    ],
)
def test_what_is_read(name: str, text: str, wanted: object) -> None:
    assert PARSERS[name](text) == wanted


def test_llava_bench() -> None:
    """Points 8 : 4 and 8 : 8 of conv, 4 : 6 of detail: 100 * 18 / 20; the unread and the worthless are left out."""
    said = [("conv", "8 4"), ("conv", "8 8\nfine"), ("detail", "4 6"), ("detail", "nice"), ("detail", "0 5")]
    result = llava_bench([{"category": category, "review": review} for category, review in said])
    assert result.figures == {"relative": 90, "reference": pytest.approx(200 / 3), "answer": 60, "unread": 2}
    assert result.details["conv"] == {"relative": 75, "reference": 80, "answer": 60}
    assert result.details["detail"]["relative"] == 150
    assert (result.n, result.scale * sum(result.items) / 3) == (3, pytest.approx(90))
    assert llava_bench([{"category": "conv", "review": ""}]).figures["relative"] is None
    with pytest.raises(ValueError, match="row 0 has no review"):
        llava_bench([{"category": "conv"}])
    with pytest.raises(ValueError, match="llava_bench: row 0 has review None; it has to be a text"):
        llava_bench([{"category": "conv", "review": None}])
    with pytest.raises(ValueError, match="mm_vet: row 0 has capability 'rec'; it has to be a list of one text or more"):
        mm_vet([{"capability": "rec", "review": "1.0"}])


def test_runs_of_which_other_reviews_were_read_do_not_compare() -> None:
    """Each lacks one of three, and not the same: paired by their order, y's answer would be held against z's."""
    one, other = (
        llava_bench([{"category": "conv", "review": text} for text in said])
        for said in (["8 4", "?", "8 6"], ["8 4", "8 8", "?"])
    )
    with pytest.raises(ValueError, match="the clusters of two results differ; score both on the same items"):
        compare(one, other)
    assert compare(one, one).difference == 0


def test_mm_vet() -> None:
    """Grades 1, 0.5 and one unread: 100 * 1.5 / 3; knowledge has 0.5 and nothing: 25."""
    rows = [(["rec"], "1.0"), (["rec", "know"], "0.5"), (["know"], "?")]
    result = mm_vet([{"capability": capability, "review": review} for capability, review in rows])
    assert result.figures == {"total": 50, "unread": 1}
    assert result.details == {
        "capability": {"rec": 75, "know": 25},
        "integration": {"rec": 100, "know+rec": 50, "know": 0},
    }


def test_first_places() -> None:
    """x: a both times; y: the first place both times, once each; z: a tie and one unread."""
    said = [
        ("x", "1", False),
        ("x", "2", True),
        ("y", "1", False),
        ("y", "1", True),
        ("z", "tie", False),
        ("z", "", True),
    ]
    result = first_places([{"question": q, "review": review, "swapped": swapped} for q, review, swapped in said])
    assert list(result.items) == [1, 0.5, 0.5]
    assert result.figures == {"won": pytest.approx(2 / 3), "a": 0.6, "b": 0.2, "tie": 0.2, "unread": 1}
    assert interval(result) is not None
    nobody = first_places([{"question": "x", "review": "", "swapped": False}])
    assert (nobody.figures["won"], nobody.n) == (None, 0)
