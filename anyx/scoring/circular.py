"""MMBench with CircularEval (Liu et al. 2023, arXiv:2307.06281): a question counts if all its rotations are right.

A rotation asks the same question with its options moved on by one; its `index` is the question's plus a million a
step. Letters that are not found count as wrong, which is VLMEvalKit's `exact_matching` policy: no judge is asked. As it
does, blanks around an answer are left out before it is read.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, mean, means, text, whole

STEP = 1_000_000
ABBREVIATIONS = {  # of abilities, as VLMEvalKit's report prints them
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
    "attribute_reasoning": "AR",
}


def mmbench(rows: Sequence[Row], *, parser: str = "mcq@vlmeval") -> Result:
    """Score rows of `index`, `answer` (a letter), `prediction`, options at `A`, `B`, ...; `category`, `l2-category`.

    Figures are shares: circular, and plain accuracy over first rotations (vanilla_first) and over all (vanilla_all).
    `details` have the hits by question, and circular accuracy by category and by ability (`l2-category`, abbreviated).
    Items are one a question. ValueError: a question without its first rotation, an unknown parser.
    """
    read = named(parser, "mcq")
    replies = answered("mmbench", rows, whole("index"), text("answer"))
    right = [read(reply.strip(), options(row)) == row["answer"] for reply, row in zip(replies, rows, strict=True)]
    rotations: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        rotations.setdefault(int(row["index"]) % STEP, []).append(place)
    first = {int(row["index"]): place for place, row in enumerate(rows) if int(row["index"]) < STEP}
    if lost := sorted(rotations.keys() - first.keys()):
        raise ValueError(f"mmbench: question {lost[0]} lacks its first rotation, the row with index {lost[0]}")
    hits = [float(all(right[place] for place in places)) for places in rotations.values()]
    heads = [rows[first[question]] for question in rotations]
    abilities = means(hits, heads, "l2-category")
    return Result(
        metric="mmbench",
        by={"parser": parser, "policy": "exact_matching"},
        figures={
            "circular": mean(hits),
            "vanilla_first": mean([right[place] for place in first.values()]),
            "vanilla_all": mean(right),
        },
        n=len(hits),
        items=hits,
        share=True,
        details={
            "question": {str(question): hit for question, hit in zip(rotations, hits, strict=True)},
            "category": means(hits, heads, "category"),
            "l2-category": {ABBREVIATIONS.get(name, name): share for name, share in abilities.items()},
        },
    )


def options(row: Row) -> dict[str, str]:
    """The texts of the options by letter; those that are None or NaN (a table's empty cell) are none."""
    cells = {letter: row[letter] for letter in string.ascii_uppercase if letter in row}
    return {letter: str(cell) for letter, cell in cells.items() if not _empty(cell)}


def _empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
