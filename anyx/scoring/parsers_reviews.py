"""What a judge answered, read: points for two answers, a grade from 0 to 1, or which of two answers it puts first."""

from __future__ import annotations

import re

POINTS = re.compile(r"\d+(?:\.\d+)?")
GRADE = re.compile(r"(?:(?<!\w)[-\u2212])?(?<![\d.])(?:\d+(?:\.\d+)?|\.\d+)")  # a dash after a word is no sign
FIRST = re.compile(r"\b(1|2|tie)\b", re.IGNORECASE)


def review_line(text: str) -> tuple[float, float] | None:
    """The two numbers of the first line, blanks or commas between and nothing else; None where it is not so."""
    words = text.strip().split("\n")[0].replace(",", " ").split()
    if len(words) != 2 or not all(POINTS.fullmatch(word) for word in words):
        return None
    return float(words[0]), float(words[1])


def grade_first(text: str) -> float | None:
    """The first number, where it is from 0 to 1."""
    found = GRADE.search(text)
    grade = float(found[0].replace("\u2212", "-")) if found else 2.0
    return grade if 0 <= grade <= 1 else None


def rank_first(text: str) -> str | None:
    """The first of the words 1, 2 and tie."""
    found = FIRST.search(text)
    return found[1].lower() if found else None
