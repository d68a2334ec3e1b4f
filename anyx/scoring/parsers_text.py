"""Free answers, as published scorers read them: MMMU's open questions, boxes in brackets, texts to be equal."""

from __future__ import annotations

import re
import string

CUES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),  # 1,234
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),  # 1.2e3
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),  # 12, 1.2, .5
)
NUMBER = r"\s*(-?\d+(?:\.\d+)?)"
BOX = re.compile(rf"\[{','.join([NUMBER] * 4)}\s*\]")
WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def open_mmmu(text: str) -> frozenset[str | float]:
    """MMMU's eval_utils.py: what an open answer may be saying, as `worth` writes it.

    Of each line the shortest tail after a cue word ("=" counts in the last line); without any, the whole answer; then
    every number in those, with commas, with an exponent, plain. "1,234" also gives 234, as published.
    """
    lowered = text.strip().strip(".").lower()
    lines = lowered.split("\n")
    tails = [
        _tail(line, (*CUES, "=") if line_number == len(lines) else CUES) for line_number, line in enumerate(lines, 1)
    ]
    said = [tail for tail in tails if tail and tail not in (":", ",", ".", "!", "?", ";", "'")] or [lowered]
    numbers = [number for part in said for pattern in NUMBERS for number in pattern.findall(part)]
    return frozenset(value for part in (*said, *numbers) for value in worth(part))


def _tail(line: str, cues: tuple[str, ...]) -> str:
    """The shortest text after the last of a cue; an empty one gives way to that of the cue that follows it."""
    shortest = ""
    for cue in cues:
        if cue in line:
            tail = line.rpartition(cue)[2].strip()
            if not shortest or len(tail) < len(shortest):
                shortest = tail
    return shortest


def worth(text: str) -> list[str | float]:
    """A number to two decimals, else the text in small letters; one letter alone keeps a blank on either side.

    The blank is there because a text is right where it *holds* the answer, which one letter nearly always does.
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        lowered = text.lower()
        return [f" {lowered}", f"{lowered} "] if len(lowered) == 1 else [lowered]


def box_brackets(text: str) -> tuple[float, float, float, float] | None:
    """lmms-eval's tasks/refcoco: the first `[a, b, c, d]` of plain or signed decimals; None without one."""
    found = BOX.search(text)
    if not found:
        return None
    left, top, right, bottom = map(float, found.groups())
    return left, top, right, bottom


def gqa_lmms(text: str) -> str:
    """lmms-eval's exact match of GQA: small letters, no ASCII punctuation; blanks stay."""
    return text.lower().translate(WITHOUT_PUNCTUATION)


def gqa_llava(text: str) -> str:
    """LLaVA's convert_gqa_for_eval.py: small letters, no full stop at the end."""
    return text.rstrip(".").lower()


def anls_lmms(text: str) -> str:
    """lmms-eval's ANLS: small letters, one blank between words."""
    return " ".join(text.lower().split())
