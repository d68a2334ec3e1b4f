"""Soft accuracy of visual questions with ten human answers (Antol et al. 2015, arXiv:1505.00468; VQAv2, TextVQA).

An answer is worth a third for each person who gave it, one at most; that is averaged over leaving out each person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anyx.scoring.parsers import named
from anyx.scoring.parsers_vqa import vqa_blanks
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, mean, means, texts


def vqa(rows: Sequence[Row], *, parser: str = "vqa@official") -> Result:
    """Score rows of `answers` (of people), `prediction`; perhaps `answer_type`, `question_type`.

    The figure is a share. `vqa@official` compares answers as they stand where all people gave the same, so that "Yes"
    is wrong beside ten times "yes"; `vqa@m4c` normalises always. ValueError: a row without answers, an unknown parser.
    """
    read = named(parser, "vqa")
    replies = answered("vqa", rows, texts("answers"))
    bare = parser == "vqa@official"
    items = [soft(reply, row["answers"], read, bare) for reply, row in zip(replies, rows, strict=True)]
    return Result(
        metric="vqa",
        by={"parser": parser},
        figures={"accuracy": mean(items)},
        n=len(rows),
        items=items,
        share=True,
        details={key: means(items, rows, key) for key in ("answer_type", "question_type")},
    )


def soft(text: str, answers: Sequence[str], read: Callable[[str], Any], bare_if_agreed: bool) -> float:
    """What an answer is worth, 0 to 1; `bare_if_agreed` compares it as it stands where all answers are the same."""
    if bare_if_agreed and len({vqa_blanks(answer) for answer in answers}) == 1:
        read = vqa_blanks
    said = read(text)
    matches: list[bool] = [read(answer) == said for answer in answers]
    total = sum(matches)
    return sum(min(1.0, (total - match) / 3) for match in matches) / len(matches)
