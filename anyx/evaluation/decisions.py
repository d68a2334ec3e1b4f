"""Whether media should come at all: how often a reply shows media when they were asked for, and when they were not.

Over all replies of a split's routes and of plain chat: `recall` is the share of those asked for a key that show it,
`precision` the share of those that show it which were asked for it. `media` counts any key but words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyx.evaluation.records import Record
from anyx.scoring.statistics import wilson

ANY = "media"


def decisions(records: Sequence[Record], keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision and recall of every key but words, and of any of them, with 95% intervals and counts."""
    shown = [(record.job.target, set(record.keys) - {"text"}) for record in records]
    found = {ANY: figures([(target != "text", bool(kinds)) for target, kinds in shown])}
    for key in keys:
        if key != "text":
            found[key] = figures([(target == key, key in kinds) for target, kinds in shown])
    return found


def figures(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    """Precision and recall of (asked for, came); None where nothing came or was asked for."""
    both = sum(asked and came for asked, came in pairs)
    asked, came = sum(asked for asked, _ in pairs), sum(came for _, came in pairs)
    return {
        "precision": round(both / came, 4) if came else None,
        "precision_ci95": [round(edge, 4) for edge in wilson(both, came)],
        "recall": round(both / asked, 4) if asked else None,
        "recall_ci95": [round(edge, 4) for edge in wilson(both, asked)],
        "asked": asked,
        "came": came,
        "both": both,
    }
