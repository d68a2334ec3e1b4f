"""The tokenizer of captions and their scores against pycocoevalcap's."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

import pytest
from evals import golden, keys, tolerance

from anyx.scoring import Result
from anyx.scoring.captions import captions
from anyx.scoring.ptb import cut

NAME = "captions_coco"
CASES = pytest.mark.parametrize("place", keys(NAME, "cases"))


@pytest.mark.parametrize("place", keys("ptb_tokenizer", "cases"))
def test_tokens(place: int) -> None:
    case = golden("ptb_tokenizer")["cases"][place]
    assert cut(case["input"]) == case["expected"]


@CASES
@pytest.mark.parametrize("tokenizer", ["none", "ptb-lite"])
def test_scores(place: int, tokenizer: str) -> None:
    """From the tokens that are stored, and from the raw captions through our own."""
    case = golden(NAME)["cases"][place]
    kind = "_tok" if tokenizer == "none" else ""
    found = captions(case[f"references{kind}"], case[f"predictions{kind}"], tokenizer=tokenizer)
    compare(found, case["scores"], found.figures)


@CASES
def test_meteor(place: int) -> None:
    case = golden(NAME)["cases"][place]
    if shutil.which("java") is None:
        pytest.skip("METEOR needs Java")
    pytest.importorskip("pycocoevalcap", reason="METEOR needs pycocoevalcap")
    found = captions(case["references_tok"], case["predictions_tok"], tokenizer="none", meteor=True)
    compare(found, case["scores"], ["meteor"])


def compare(found: Result, wanted: dict[str, Any], figures: Iterable[str]) -> None:
    wanted = {name.lower(): score for name, score in wanted.items()}
    for name in figures:
        assert found.figures[name] == pytest.approx(wanted[name]["corpus"], abs=tolerance(NAME)), name
        each = [row[name] for row in found.details.values()]
        assert each == pytest.approx(wanted[name]["per_image"], abs=tolerance(NAME)), name
