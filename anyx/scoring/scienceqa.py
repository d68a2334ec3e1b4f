"""ScienceQA (Lu et al. 2022, arXiv:2209.09513): accuracy over all questions, and over those with a picture."""

from __future__ import annotations

import string
from collections.abc import Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Kind, Row, among, mean, needed, texts, whole

PREDICTION = Kind("prediction", "a text or None", lambda value: value is None or isinstance(value, str))


def scienceqa(rows: Sequence[Row], *, parser: str = "sqa@llava") -> Result:
    """Score rows of `choices`, `answer` (a place among them), `prediction`, `has_image`.

    A prediction of None is a question that was not answered. `sqa@llava` counts it as wrong, and among those without a
    picture; `sqa@lmms` leaves it out. Figures are shares: accuracy and image_accuracy, None without pictures.
    """
    read = named(parser, "sqa")
    needed("scienceqa", rows, texts("choices"), whole("answer"), PREDICTION, "has_image")
    among("scienceqa", rows, "answer", "choices")
    scored = rows if parser == "sqa@llava" else [row for row in rows if row["prediction"] is not None]
    items = []
    for row in scored:
        options = dict(zip(string.ascii_uppercase, row["choices"], strict=False))
        letter = None if row["prediction"] is None else read(row["prediction"], options)
        items.append(float(letter == string.ascii_uppercase[int(row["answer"])]))
    seen = [item for item, row in zip(items, scored, strict=True) if row["has_image"] and row["prediction"] is not None]
    figures = {"accuracy": mean(items), "image_accuracy": mean(seen)}
    return Result("scienceqa", {"parser": parser}, figures, len(scored), items, share=True)
