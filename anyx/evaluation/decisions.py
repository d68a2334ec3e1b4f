"""Whether media should come at all: how often a reply shows media when they were asked for, and when they were not.

Over all replies of a split's routes and of plain chat: `recall` is the share of those asked for a key that show it,
`precision` the share of those that show it which were asked for it. `media` counts any key but words. Replies about one
label hang together, in whichever route, and so do those to one plain question.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anyx.evaluation.corpus import Corpus
from anyx.evaluation.metrics import bounds
from anyx.evaluation.records import Record
from anyx.evaluation.routes import PLAIN

ANY = "media"


def decisions(records: Sequence[Record], corpus: Corpus) -> dict[str, dict[str, Any]]:
    """Precision and recall of every key but words, and of any of them, with 95% intervals and counts."""
    jobs = [record.job for record in records]
    about = [f"{PLAIN} {job.sample}" if job.split == PLAIN else corpus.label(job.sample) for job in jobs]
    shown = [(record.job.target, set(record.keys) - {"text"}) for record in records]
    found = {ANY: figures([(target != "text", bool(kinds)) for target, kinds in shown], about)}
    for key in corpus.keys:
        if key != "text":
            found[key] = figures([(target == key, key in kinds) for target, kinds in shown], about)
    return found


def figures(pairs: Sequence[tuple[bool, bool]], about: Sequence[str]) -> dict[str, Any]:
    """Precision and recall of (asked for, came), `about` what each is; None where nothing came or was asked for."""
    rows = [(asked, came, label) for (asked, came), label in zip(pairs, about, strict=True)]
    found: dict[str, Any] = {}
    for name, some in (
        ("precision", [(asked, label) for asked, came, label in rows if came]),
        ("recall", [(came, label) for asked, came, label in rows if asked]),
    ):
        hits = [float(hit) for hit, _ in some]
        found[name] = round(sum(hits) / len(hits), 4) if hits else None
        found[f"{name}_ci95"] = [round(edge, 4) for edge in bounds(hits, [label for _, label in some])]
    return found | {
        "asked": sum(asked for asked, _ in pairs),
        "came": sum(came for _, came in pairs),
        "both": sum(asked and came for asked, came in pairs),
    }
