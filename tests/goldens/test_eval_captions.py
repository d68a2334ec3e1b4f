"""The tokenizer of captions and their scores against pycocoevalcap's."""

from __future__ import annotations

import pytest
from evals import golden, keys, tolerance

from anyx.scoring.ptb import cut


@pytest.mark.parametrize("place", keys("ptb_tokenizer", "cases"))
def test_tokens(place: int) -> None:
    case = golden("ptb_tokenizer")["cases"][place]
    assert cut(case["input"]) == case["expected"]
