"""ROUGE-L of tokens: the longest common subsequence, as a share of the reply and of the reference (Lin, 2004).

COCO's scorer takes the best share of either over the references, not of the same one, and weighs recall by beta 1.2.
"""

from __future__ import annotations

from collections.abc import Sequence

BETA = 1.2


def common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        above = row
        row = [0]
        for place, other in enumerate(b):
            row.append(above[place] + 1 if word == other else max(above[place + 1], row[-1]))
    return row[-1]


def rouge_l(reply: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """ROUGE-L of one reply; 0 where it or all references are empty, or nothing is common."""
    shared = [(common(reply, reference), len(reference)) for reference in references]
    precision = max(length for length, _ in shared) / max(1, len(reply))
    recall = max(length / max(1, size) for length, size in shared)
    if not precision or not recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
