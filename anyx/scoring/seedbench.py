"""SEED-Bench (Li et al. 2023, arXiv:2307.16125) from generated answers: accuracy over all, and by type of question."""

from __future__ import annotations

from collections.abc import Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, mean, means, text

OPTIONS = dict.fromkeys("ABCD", "")


def seedbench(rows: Sequence[Row], *, parser: str = "seed@first") -> Result:
    """Score rows of `answer` (a letter), `prediction`; perhaps `data_type`, for `details`. The figure is a share.

    LLaVA and lmms-eval score so; SEED-Bench's own figure ranks the options by the model's loss instead.
    """
    read = named(parser, "seed")
    texts = answered("seedbench", rows, text("answer"))
    items = [float(read(reply, OPTIONS) == row["answer"]) for reply, row in zip(texts, rows, strict=True)]
    details = {name: {"accuracy": share} for name, share in means(items, rows, "data_type").items()}
    return Result(
        "seedbench", {"parser": parser}, {"accuracy": mean(items)}, len(rows), items, share=True, details=details
    )
