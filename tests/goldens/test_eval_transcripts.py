"""WER, CER, MER and WIL against jiwer's."""

from __future__ import annotations

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.edits import transcripts

NAME = "wer_cer"


@pytest.mark.parametrize("place", keys(NAME, "rows"))
def test_rows(place: int) -> None:
    row = golden(NAME)["rows"][place]
    found = transcripts([row["reference"]], [row["hypothesis"]]).figures
    assert [found["wer"], found["cer"]] == pytest.approx([row["wer"], row["cer"]], abs=tolerance(NAME))


@pytest.mark.parametrize("figure", keys(NAME, "expected"))
def test_corpus(figure: str) -> None:
    rows = golden(NAME)["rows"]
    found = transcripts([row["reference"] for row in rows], [row["hypothesis"] for row in rows])
    wanted = golden(NAME)["expected"][figure]
    assert found.figures[figure.removeprefix("corpus_")] == pytest.approx(wanted, abs=tolerance(NAME))
    assert found.n == len(rows)
