"""Average precision and recall of boxes, worked out by hand."""

import pytest

from anyx.scoring.detection import detection


def box(left: float, width: float = 50, kind: int = 1, **more: float | None) -> dict[str, object]:
    return {"bbox": [left, 0.0, width, 50.0], "category_id": kind, **more}


def test_one_of_two_by_hand() -> None:
    """Two boxes, one found exactly, and a false one that is surer. At recall up to 1/2 precision is 1/2, beyond it 0:
    51 of 101 recalls, 0 to 0.5, have a half. One guess a class and image finds nothing, ten find a half.
    """
    found = detection([{"image_id": 1, "gt": [box(0), box(100)], "pred": [box(0, score=0.5), box(500, score=0.9)]}])
    half = 51 / 101 / 2
    expected = {"AP": half, "AP50": half, "AP75": half, "AP_medium": half}
    expected |= {"AR1": 0, "AR10": 0.5, "AR100": 0.5, "AR_medium": 0.5}
    assert {name: found.figures[name] for name in expected} == pytest.approx(expected)
    assert found.figures["AP_small"] is found.figures["AP_large"] is found.figures["AR_small"] is None
    assert found.details == {"1": pytest.approx({"AP": half})}


def test_thresholds_by_hand() -> None:
    """Shifted by 10 of 50 the IoU is 40 / 60, over 0.5, 0.55, 0.6 and 0.65: four of ten thresholds."""
    found = detection([{"image_id": 1, "gt": [box(0)], "pred": [box(10, score=1)]}]).figures
    assert (found["AP"], found["AP50"], found["AP75"]) == pytest.approx((0.4, 1, 0))


def test_a_box_is_found_once() -> None:
    """The second of two detections of one box is false, but comes after recall 1: nothing is lost. Surer, it costs."""
    again = [box(0, score=0.9), box(0, score=0.8)]
    assert detection([{"image_id": 1, "gt": [box(0)], "pred": again}]).figures["AP"] == pytest.approx(1)
    two = [{"image_id": 1, "gt": [box(0), box(200)], "pred": [*again, box(200, score=0.7)]}]
    assert detection(two).figures["AP"] == pytest.approx((51 + 50 * 2 / 3) / 101)  # 1 up to a half, then 2 of 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"gt": None}, "row 0 has gt None; it has to be a list"),
        ({"pred": [box(0)]}, "pred of row 0: box 0 has no score; a box holds bbox, category_id, score"),
        ({"pred": [box(0, score=None)]}, "pred of row 0: box 0 has score None; it has to be a number"),
        ({"gt": [box(0), {"bbox": [0, 0, 1], "category_id": 1}]}, "gt of row 0: box 1 has bbox .*; .* be 4 numbers"),
        ({"gt": [{"bbox": [0, 0, 1, 1], "category_id": None}]}, "gt of row 0: box 0 has category_id None"),
        ({"image_id": None}, "row 0 has image_id None; it has to be a number or a text"),
    ],
)
def test_malformed_rows(changed: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"detection: {message}"):
        detection([{"image_id": 1, "gt": [box(0)], "pred": [], **changed}])
    with pytest.raises(ValueError, match="detection: row 1 has no gt, pred"):
        detection([{"image_id": 1, "gt": [], "pred": []}, {"image_id": 2}])


def test_crowds_and_classes() -> None:
    """Within a crowd detections neither count nor cost; a class that is never true has no figure."""
    crowd = [box(0, 200, iscrowd=1), box(500)]
    inside = [box(0, score=0.9), box(60, score=0.9), box(500, score=0.5)]
    assert detection([{"image_id": 1, "gt": crowd, "pred": inside}]).figures["AP"] == pytest.approx(1)
    rows = [{"image_id": 1, "gt": [box(0), box(0, kind=2)], "pred": [box(0, score=1), box(0, kind=3, score=1)]}]
    assert detection(rows).figures["AP"] == pytest.approx(0.5)
    assert detection([]).figures["AP"] is None
