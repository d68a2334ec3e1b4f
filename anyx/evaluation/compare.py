"""Two runs over the same requests: cell by cell the difference in top-1, its interval, and whether it could be chance.

Requests are paired: only those that both runs answered count. Requests about one label hang together: the interval is
of their differences by a bootstrap over labels, the p that of swapping the runs at random, a label at a time. `holm` is
the p after Holm's correction for as many cells as there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.evaluation.corpus import Corpus
from anyx.evaluation.judges import Judges
from anyx.evaluation.metrics import difference_bounds
from anyx.evaluation.records import Job, Records, by_route
from anyx.evaluation.routes import PLAIN
from anyx.evaluation.scores import Verdicts, judge_all
from anyx.scoring.bootstrap import permutation_test

Figures = dict[str, Any]


def compare(corpus: Corpus, judges: Judges, runs: Sequence[Path], digest: str) -> Figures:
    """`{split: {route: {"n":, "a":, "b":, "difference":, "ci95":, "p":, "holm":}}}` of two folders with records."""
    first, second = (right_of(corpus, judges, run, digest) for run in runs)
    groups = by_route(job for job in first if job in second)
    if not groups:
        raise ValueError(f"compare: {runs[0]} and {runs[1]} have no request in common (splits, samples and seed count)")
    rows = {
        key: paired(
            [first[job] for job in jobs], [second[job] for job in jobs], [corpus.label(job.sample) for job in jobs]
        )
        for key, jobs in groups.items()
    }
    corrected(list(rows.values()))
    told: Figures = {}
    for (split, name), row in rows.items():
        told.setdefault(split, {})[name] = row
    return told


def right_of(corpus: Corpus, judges: Judges, run: Path, digest: str) -> dict[Job, float]:
    """1.0 for every request of a run whose first judge's best label is the right one, else 0.0; plain chat left out."""
    records = Records(run / "records.jsonl")
    if not len(records):
        raise ValueError(f"there are no records in {run}")
    verdicts = Verdicts(run / "verdicts.jsonl", digest)
    judge_all(list(records), judges, run, verdicts)
    numbers = {label: index for index, label in enumerate(corpus.labels)}
    found: dict[Job, float] = {}
    for record in records:
        job = record.job
        if job.split != PLAIN:
            said = verdicts[job].ranked.get(next(iter(judges[job.target])), [])[:1]
            found[job] = float(list(said) == [numbers[corpus.label(job.sample)]])
    return found


def paired(a: Sequence[float], b: Sequence[float], labels: Sequence[str]) -> Figures:
    """One cell: both shares, b's less a's with its 95% interval, and the p of it; no test of a single request."""
    low, high = difference_bounds([mine - other for other, mine in zip(a, b, strict=True)], labels)
    return {
        "n": len(a),
        "a": round(sum(a) / len(a), 4),
        "b": round(sum(b) / len(b), 4),
        "difference": round((sum(b) - sum(a)) / len(a), 4),
        "ci95": [round(low, 4), round(high, 4)],
        "p": round(permutation_test(b, a, labels), 6) if len(a) > 1 else 1.0,
    }


def corrected(rows: Sequence[Figures]) -> None:
    """Add Holm's p: the smallest times as many as there are, the next times one less, never falling."""
    held = 0.0
    for place, row in enumerate(sorted(rows, key=lambda row: row["p"])):
        held = max(held, min(1.0, row["p"] * (len(rows) - place)))
        row["holm"] = round(held, 6)


def show(found: Mapping[str, Mapping[str, Figures]], names: Sequence[str]) -> None:
    """Print the comparison; what differs after Holm's correction (p < 0.05) is marked."""
    from rich.console import Console
    from rich.table import Table

    for split, cells in found.items():
        table = Table(title=f"{split}: top-1 of A = {names[0]} and B = {names[1]}")
        for head in ("cell", "n", "A", "B", "B - A (95%)", "p", "Holm"):
            table.add_column(head, justify="left" if head == "cell" else "right")
        for name, row in cells.items():
            low, high = row["ci95"]
            mark = " *" if row["holm"] < 0.05 else ""
            table.add_row(
                name, str(row["n"]), f"{row['a']:.0%}", f"{row['b']:.0%}",
                f"{row['difference']:+.0%} ({low:+.0%} to {high:+.0%})", f"{row['p']:.3g}", f"{row['holm']:.3g}{mark}",
            )  # fmt: skip
        Console().print(table)
