"""Short answers against references: exact match as GQA is scored, and ANLS (Biten et al. 2019, arXiv:1905.13648)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anyx.scoring.edits import edits
from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, mean, texts


def exact_match(rows: Sequence[Row], *, parser: str = "gqa@lmms") -> Result:
    """Score rows of `references`, `prediction` by equality with the first reference, both as the parser writes them."""
    read = named(parser, "gqa")
    replies = answered("exact_match", rows, texts("references"))
    items = [float(read(text) == read(row["references"][0])) for text, row in zip(replies, rows, strict=True)]
    return Result("exact_match", {"parser": parser}, {"accuracy": mean(items)}, len(rows), items, share=True)


def anls(rows: Sequence[Row], *, parser: str = "anls@lmms", threshold: float = 0.5) -> Result:
    """Score rows of `references`, `prediction` by the closest reference: 1 less edits over length, 0 below `threshold`.

    The length is that of the longer one before blanks are folded, in capitals, as in the published scorer.
    """
    read = named(parser, "anls")
    replies = answered("anls", rows, texts("references"))
    scores = [max(_near(text, one, read) for one in row["references"]) for text, row in zip(replies, rows, strict=True)]
    items = [score if score >= threshold else 0.0 for score in scores]
    return Result(
        "anls", {"parser": parser, "threshold": f"{threshold}"}, {"anls": mean(items)}, len(rows), items, share=True
    )


def _near(text: str, reference: str, read: Callable[[str], Any]) -> float:
    longer = max(len(text.upper()), len(reference.upper()))
    return 1 - edits(read(reference), read(text)).errors / longer if longer else 1.0
