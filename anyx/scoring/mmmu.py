"""MMMU (Yue et al. 2023, arXiv:2311.16502): college questions, some with options and some open, over subjects.

Accuracy is over all questions. Where no option is found the reference draws a letter from a generator that is seeded at
its import; here the generator is our own, seeded for each scoring, and the result says how many were drawn.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anyx.scoring.parsers import named
from anyx.scoring.parsers_text import worth
from anyx.scoring.result import Result
from anyx.scoring.rows import Kind, Row, answered, is_texts, mean, means, subsets, text

ANSWER = Kind("answer", "a text or a list of texts", lambda value: isinstance(value, str) or is_texts(value))


def mmmu(
    rows: Sequence[Row], *, parser: str = "mcq@mmmu", open_parser: str = "open@mmmu", guess: bool = True, seed: int = 42
) -> Result:
    """Score rows of `question_type`, `answer` (one, or a list of right ones), `prediction`; `options`; `subject`.

    `options` are a list of texts, needed where the type is "multiple-choice"; other types are open. Figures: accuracy,
    a share, and how many answers named no option (drawn at random if `guess`, else wrong). `details` by subject.
    """
    read, read_open = named(parser, "mcq"), named(open_parser, "open")
    replies = answered("mmmu", rows, text("question_type"), ANSWER)
    generator = np.random.default_rng(seed)
    items, unread = [], 0
    for place, (reply, row) in enumerate(zip(replies, rows, strict=True)):
        if row["question_type"] != "multiple-choice":
            items.append(float(says(read_open(reply), _list(row["answer"]))))
            continue
        letter = _letter(read, reply, row, place)
        if letter is None:
            unread += 1
            letter = string.ascii_uppercase[generator.integers(len(row["options"]))] if guess else None
        items.append(float(letter in _list(row["answer"])))
    return Result(
        metric="mmmu",
        by={"parser": parser, "open_parser": open_parser, "unread": f"drawn, seed {seed}" if guess else "wrong"},
        figures={"accuracy": mean(items), "unread": float(unread)},
        n=len(rows),
        items=items,
        share=True,
        details={
            name: {"accuracy": share, "n": float(len(places))}
            for (name, share), places in zip(
                means(items, rows, "subject").items(), subsets(rows, "subject").values(), strict=True
            )
        },
    )


def says(found: frozenset[str | float], answers: Sequence[str]) -> bool:
    """Whether what an open answer may be saying is right: a number that is an answer, or a text that holds one."""
    right = [value for answer in answers for value in worth(answer)]
    holds = any(
        isinstance(text, str) and isinstance(answer, str) and answer in text for text in found for answer in right
    )
    return holds or any(isinstance(number, float) and number in right for number in found)


def _letter(read: Callable[..., Any], reply: str, row: Row, place: int) -> str | None:
    """The letter that is read among the options of a row, if any."""
    if not row.get("options") or not is_texts(row["options"]):
        raise ValueError(f"mmmu: row {place}, a multiple-choice row, has no options, a list of texts: {dict(row)}")
    letter: str | None = read(reply, dict(zip(string.ascii_uppercase, row["options"], strict=False)))
    return letter


def _list(answer: str | Sequence[str]) -> Sequence[str]:
    return [answer] if isinstance(answer, str) else answer
