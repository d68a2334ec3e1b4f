"""Records -> the figures of a run: a matrix for each split, what is reported apart, plain chat, the judges' ceilings.

`{"seen": {"text->image": {"n":, "valid":, "top1":, "top5":, "ci95": [lo, hi], "ceiling":, "chance":, ...}}, "unseen":
..., "plain_chat": {...}}`. An invalid output counts as wrong. `ci95` is the Wilson interval of top1: a cell asks
once for each concept, so its records are independent. `ceiling` is the judge's own top-1 on real held-out media of the
output's kind, of the first split: outputs are in the styles and voices that training showed, whatever went in; the
other splits' stand under `judges`. `chance` is top-1 when the cell's outputs are shuffled among its requests. `others`
are further judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyx.evaluation.corpus import Corpus
from anyx.evaluation.judges import Judges, rankings
from anyx.evaluation.metrics import chance, hits, wilson
from anyx.evaluation.records import Job, Record, Records
from anyx.evaluation.routes import PLAIN
from anyx.evaluation.transcripts import interval, word_errors
from anyx.scoring.edits import total

Figures = dict[str, Any]


def matrix(
    corpus: Corpus,
    judges: Judges,
    jobs: Sequence[Job],
    records: Records,
    ceilings: Figures,
    *,
    transcripts: Sequence[str] = (),
) -> Figures:
    """All figures of a run, from the records that are there; in the cells of `transcripts` word errors too."""
    numbers = {label: index for index, label in enumerate(corpus.labels)}
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.split, job.cell), []).append(job)
    found: Figures = {split: {} for split in (*corpus.splits, *corpus.apart)}
    for (split, name), members in groups.items():
        rows = records.of(members)
        if split == PLAIN:
            found["plain_chat"] = plain(rows)
            continue
        source, _, target = name.partition("->")
        targets = [numbers[corpus.label(row.job.concept)] for row in rows]
        bar, *others = judges[target]
        limits = ceilings[target]
        cell = {"n": len(rows), **share("valid", rows), **share("exact", rows), **figures(rows, targets, bar)}
        cell["ceiling"] = limits[bar][corpus.splits[0]]
        cell["judge"] = bar
        if others:
            cell["others"] = {
                other: {**figures(rows, targets, other), "ceiling": limits[other][corpus.splits[0]]} for other in others
            }
        if name in transcripts:
            cell["words"] = written(rows, [corpus.label(row.job.concept) for row in rows])
        if source in corpus.synthetic.get(split, ()):
            cell["synthetic_input"] = True
        found[split][name] = cell
    found["judges"] = ceilings
    found["labels"] = len(corpus.labels)
    return found


def figures(rows: Sequence[Record], targets: Sequence[int], judge: str) -> Figures:
    """top-1, top-5, interval and chance by one judge."""
    ranked = [row.ranked.get(judge, []) for row in rows]
    first = hits(ranked, targets, 1)
    total = max(1, len(rows))
    return {
        "top1": round(first / total, 4),
        "top5": round(hits(ranked, targets, 5) / total, 4),
        "ci95": [round(edge, 4) for edge in wilson(first, len(rows))],
        "chance": round(chance(ranked, targets), 4),
    }


def written(rows: Sequence[Record], labels: Sequence[str]) -> Figures:
    """Word error rate of replies against what they should say, its interval, and the counts."""
    errors = [word_errors(label, row.text) for label, row in zip(labels, rows, strict=True)]
    together = total(errors)
    low, high = interval(errors)
    return {"error_rate": round(together.rate, 4), "ci95": [round(low, 4), round(high, 4)], **together._asdict()}


def share(name: str, rows: Sequence[Record]) -> Figures:
    """The share of records of which a flag is true."""
    flags = [{"valid": row.valid, "exact": row.exact}[name] for row in rows]
    return {name: round(sum(flags) / max(1, len(rows)), 4)}


def plain(rows: Sequence[Record]) -> Figures:
    """How much of the plain chat stayed words."""
    kept = sum(row.exact for row in rows)
    share_kept = round(kept / max(1, len(rows)), 4)
    return {"n": len(rows), "plain": share_kept, "ci95": [round(edge, 4) for edge in wilson(kept, len(rows))]}


def ceilings_of(corpus: Corpus, judges: Judges, *, limit: int | None, seed: int) -> Figures:
    """Top-1 of every judge on real held-out media: key -> judge -> split -> share."""
    numbers = {label: index for index, label in enumerate(corpus.labels)}
    found: Figures = {}
    for key, named in judges.items():
        for split in corpus.judged:
            if split in corpus.apart and not has_media(corpus.apart[split], key):
                continue
            concepts = corpus.chosen(split, limit)
            real = [corpus.real(split, key, concept, seed) for concept in concepts]
            targets = [numbers[corpus.label(concept)] for concept in concepts]
            for name, judge in named.items():
                right = hits(rankings(judge, real), targets, 1)
                found.setdefault(key, {}).setdefault(name, {})[split] = round(right / max(1, len(real)), 4)
    return found


def has_media(cells: Sequence[str], key: str) -> bool:
    """Whether media of this kind go into some of the cells."""
    return any(cell.startswith(f"{key}->") for cell in cells)


def markdown(found: Mapping[str, Any], keys: Sequence[str], splits: Sequence[str]) -> str:
    """The matrices as Markdown tables: top-1 in percent with its interval."""
    parts = []
    for split in splits:
        head = f"| {split}: in \\ out | " + " | ".join(keys) + " |"
        rows = [
            f"| **{source}** | " + " | ".join(_brief(found[split].get(f"{source}->{target}")) for target in keys) + " |"
            for source in keys
        ]
        parts.append("\n".join([head, "|---" * (len(keys) + 1) + "|", *rows]))
    return "\n\n".join(parts) + "\n"


def _brief(cell: Mapping[str, Any] | None) -> str:
    if not cell or not cell["n"]:
        return "-"
    low, high = (round(100 * edge) for edge in cell["ci95"])
    return f"{100 * cell['top1']:.0f} ({low}-{high})"
