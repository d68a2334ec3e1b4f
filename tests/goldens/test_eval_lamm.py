"""The metrics of the LAMM benchmark against its own code of 2023, task by task and where rows say so, row by row."""

from __future__ import annotations

from typing import Any

import pytest
from evals import golden, keys, tolerance

from anyx.scoring import Result
from anyx.scoring.lamm import TASKS, grounded, lamm, named_cifar, named_hair
from anyx.scoring.lamm_answers import number, quoted
from anyx.scoring.lamm_places import boxes

NAME = "lamm"


def task(name: str) -> dict[str, Any]:
    return golden(NAME)["tasks"][name]


def near(found: float | None, wanted: float) -> bool:
    return found == pytest.approx(wanted, abs=tolerance(NAME))


def every_row(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of all parts."""
    return [row for key, rows in found.items() if key.endswith("rows") for row in rows]


def test_all_tasks_are_here() -> None:
    assert set(golden(NAME)["tasks"]) <= set(TASKS)


@pytest.mark.parametrize("name", keys(NAME, "tasks"))
def test_figures(name: str) -> None:
    """`expected_acc` is the figure `acc`; `expected` alone the first; `expected: {mae_total: ...}` those it names."""
    given = task(name)
    found, compared = lamm(name, every_row(given)), 0
    for key, wanted in given.items():
        if key == "expected" and isinstance(wanted, dict):
            compared += sum(part(found, each, value) for each, value in wanted.items())
        elif key.startswith("expected"):
            figure = key.removeprefix("expected").removeprefix("_") or next(iter(found.figures))
            compared += part(found, figure, wanted)
    if name == "lsp_pck":
        compared += part(found, "pck", given["intended_pck"])
        printed = lamm(name, every_row(given), as_published=True)
        assert printed.figures["pck"] == given["reference_output_BUG"]
    assert compared


def part(found: Result, figure: str, wanted: Any) -> bool:
    """One figure, or [correct, total] of a part."""
    if isinstance(wanted, list):
        assert [found.details[figure][key] for key in ("correct", "total")] == wanted
    else:
        assert near(found.figures[figure], wanted), figure
    return True


READERS = {
    "cifar10_classification": ("expected", lambda row: bool(named_cifar(row)[0])),
    "celeba_hair": ("expected", lambda row: bool(named_hair(row)[0])),
    "fsc147_counting": ("expected_parsed", lambda row: number(row["prediction"])),
    "svt_ocr": ("expected_sentence", lambda row: quoted(row["prediction"])),
    "voc_detection": ("expected_parsed_boxes", lambda row: boxes(row["prediction"])),
    "scanrefer_grounding3d": ("expected_iou", grounded),
}


@pytest.mark.parametrize("name", list(READERS))
def test_rows(name: str) -> None:
    key, read = READERS[name]
    rows = task(name)["rows"]
    assert rows
    for row in rows:
        found, wanted = read(row), row[key]
        if name == "fsc147_counting":
            found, wanted = found or 0, wanted or 0  # what is not read is counted as 0
        assert near(found, wanted) if isinstance(found, float) else found == wanted, row
