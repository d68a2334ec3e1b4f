"""Two runs are compared by what was asked about: a thing that was asked about often is one thing."""

from pathlib import Path

import pytest
from shapes import YAML, Oracle

from anyx.evaluation import compare, evaluate
from anyx.evaluation.compare import paired


def test_two_runs_are_compared_request_by_request(folder: Path, tmp_path: Path) -> None:
    """By hand: of four things the deaf run is wrong in three, which are won in 2 of 2^3 ways; Holm's for 19 cells 1."""
    runs = [tmp_path / name for name in ("deaf", "oracle")]
    evaluate(folder, runs[0], model=Oracle(deaf=True), show=False)
    evaluate(folder, runs[1], model=Oracle(), show=False)
    row = compare(folder, runs, show=False)["seen"]["image->text"]
    low, high = row.pop("ci95")
    assert row.pop("p") == pytest.approx(0.25, abs=0.02)
    assert row == {"n": 4, "a": 0.25, "b": 1.0, "difference": 0.75, "holm": 1.0}
    assert low <= 0.75 <= high
    with pytest.raises(ValueError, match="there are no records in"):
        compare(folder, [runs[0], tmp_path / "nowhere"], show=False)


def test_requests_about_one_thing_hang_together(folder: Path, tmp_path: Path) -> None:
    """All are called red, which the deaf run says to each: one thing, so that nothing is certain."""
    (folder / "evaluation.yaml").write_text(YAML.replace("shapes:Shapes", "shapes:Reds"))
    runs = [tmp_path / name for name in ("oracle", "deaf")]
    found = evaluate(folder, runs[0], model=Oracle(), show=False)["seen"]["image->text"]
    assert found["top1"] == 0.25
    assert found["ci95"][0] < 0.1 < 0.8 < found["ci95"][1]
    evaluate(folder, runs[1], model=Oracle(deaf=True), show=False)
    row = compare(folder, runs, show=False)["seen"]["image->text"]
    assert (row["difference"], row["p"]) == (0.75, 1)
    assert row["ci95"][0] < 0 < 0.9 < row["ci95"][1]


def test_pairs_that_all_differ_alike_are_not_certain() -> None:
    """By hand: two of two won, Wilson's least share is 0.34238, which leaves 0.34238 - 0.65762."""
    assert paired([0, 0], [1, 1], ["a", "b"])["ci95"] == [-0.3152, 1]
    assert paired([1] * 4, [1] * 4, list("abcd"))["ci95"] == [-0.4899, 0.4899]
    assert paired([1], [1], ["a"])["p"] == 1
