"""Prompts of benchmarks against lmms-eval's."""

from __future__ import annotations

import pytest
from evals import golden, keys

from anyx.scoring.prompts import prompt


@pytest.mark.parametrize("place", keys("prompts", "rows"))
def test_prompts(place: int) -> None:
    row = golden("prompts")["rows"][place]
    told = "_ocr" if row["kwargs"].get("ocr") else ""
    assert prompt(row["task"] + told, row["doc"]) == (row["expected_prompt"], row["generation_kwargs"])
