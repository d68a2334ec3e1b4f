"""Edits between two sequences of words or characters, and the rates they make: WER, CER, MER, WIL.

Rates of several texts are of the summed counts, so that long ones count for more. WER and CER may be over 1, MER and
WIL may not. Of several shortest ways the one is counted that jiwer counts, which matters to MER and WIL alone: common
ends are left out, and from the end a deletion goes before a substitution, and that before an insertion.

Letters: n units of the reference, m units that were written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from anyx.scoring.result import Result
from anyx.scoring.rows import is_texts


class Edits(NamedTuple):
    """Counts of one or more texts; `words` are the units of the references: words, or the characters of a CER."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def hits(self) -> int:
        """Words that were written as they are."""
        return self.words - self.substitutions - self.deletions

    @property
    def rate(self) -> float:
        """Errors a word (WER; of characters, CER); without any words, as many as were put in."""
        return self.errors / max(1, self.words)

    @property
    def match_rate(self) -> float:
        """Errors among all hits and errors (MER)."""
        return self.errors / max(1, self.hits + self.errors)

    @property
    def lost(self) -> float:
        """Word information lost (WIL): 1 - hits^2 / (n m)."""
        written = self.hits + self.substitutions + self.insertions
        return 1 - self.hits / max(1, self.words) * (self.hits / max(1, written)) if self.words + written else 0.0


def edits(reference: Sequence[str], written: Sequence[str]) -> Edits:
    """The shortest way from one sequence to the other (Levenshtein), O(n m)."""
    start, end = 0, 0
    short = min(len(reference), len(written))
    while start < short and reference[start] == written[start]:
        start += 1
    while end < short - start and reference[-1 - end] == written[-1 - end]:
        end += 1
    right, found = reference[start : len(reference) - end], written[start : len(written) - end]
    table = [list(range(len(found) + 1))]
    for i, unit in enumerate(right, 1):
        above, row = table[-1], [i]
        for j, other in enumerate(found, 1):
            row.append(min(above[j - 1] + (unit != other), above[j] + 1, row[-1] + 1))
        table.append(row)
    counts = [0, 0, 0]
    i, j = len(right), len(found)
    while i or j:
        here = table[i][j]
        wrong = bool(i and j and right[i - 1] != found[j - 1])
        if i and table[i - 1][j] + 1 == here:
            step = (1, 1, 0)
        elif wrong and table[i - 1][j - 1] + 1 == here:
            step = (0, 1, 1)
        elif j and table[i][j - 1] + 1 == here:
            step = (2, 0, 1)
        else:
            i, j = i - 1, j - 1
            continue
        counts[step[0]] += 1
        i, j = i - step[1], j - step[2]
    return Edits(counts[0], counts[1], counts[2], len(reference))


def total(found: Sequence[Edits]) -> Edits:
    """The counts of several texts together."""
    return Edits(*(sum(counts) for counts in zip(*found, strict=True))) if found else Edits(0, 0, 0, 0)


def transcripts(references: Sequence[str], written: Sequence[str]) -> Result:
    """WER, CER, MER and WIL of texts as they are: case and punctuation count, and blanks within a text in its CER.

    `details` has WER and CER by row; there are no `items`, for the corpus' WER is not their mean.
    """
    if len(references) != len(written):
        raise ValueError(f"{len(references)} references but {len(written)} transcripts; each transcript has one")
    if not is_texts(references) or not is_texts(written):
        raise ValueError("references and transcripts are lists of texts, each of one text a sound")
    pairs = [(a.strip(), b.strip()) for a, b in zip(references, written, strict=True)]
    words = [edits(_words(a), _words(b)) for a, b in pairs]
    letters = [edits(a, b) for a, b in pairs]
    of_words, of_letters = total(words), total(letters)
    figures = {"wer": of_words.rate, "cer": of_letters.rate, "mer": of_words.match_rate, "wil": of_words.lost}
    rows = {str(n): {"wer": w.rate, "cer": c.rate} for n, (w, c) in enumerate(zip(words, letters, strict=True))}
    unmeasured: dict[str, float | None] = dict.fromkeys(figures)
    return Result(
        metric="transcripts",
        by={"words": "blanks@jiwer"},
        figures=figures if pairs else unmeasured,
        n=len(pairs),
        details=rows,
    )


def _words(text: str) -> list[str]:
    """Words as jiwer parts them: at blanks and at runs of white space, but not at a single tab or line end."""
    return [word for word in re.sub(r"\s\s+", " ", text).split(" ") if word]
