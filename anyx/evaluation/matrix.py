"""Records and verdicts -> the figures of a run: a matrix for each split, cycles, route decisions, plain chat, controls.

`{"seen": {"text->image": {"n":, "valid":, "top1":, "top5":, "ci95": [lo, hi], "ceiling":, "chance":, "fidelity": ...}},
"unseen": ..., "cycles": {"seen": ...}, "decisions": {"seen": ...}, "plain_chat": {...}}`. An invalid output counts as
wrong. `ci95` is the 95% interval of top1 by a bootstrap over labels, Wilson's where these are all alike. Beside it
stand the controls: `ceiling`, the judge's own top-1 on real held-out media of the output's kind (of the first split:
outputs are in the styles and voices that training showed, whatever went in; the other splits' stand under `judges`);
`chance`, top-1 when the cell's outputs are shuffled among its requests; and the floor of the fidelity, real against
real. `aspects` are the shares of outputs right in one respect, where the corpus tells labels apart by some. `others`
are further judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anyx.evaluation.corpus import Corpus
from anyx.evaluation.decisions import decisions
from anyx.evaluation.fidelity import Fidelity
from anyx.evaluation.judges import Judges, rankings
from anyx.evaluation.lines import brief, cycles, sizes
from anyx.evaluation.lines import decisions as decided
from anyx.evaluation.metrics import bounds, chance, hits
from anyx.evaluation.records import Job, Record, Records, by_route
from anyx.evaluation.routes import PLAIN, first_leg
from anyx.evaluation.scores import Verdict, Verdicts
from anyx.evaluation.transcripts import interval, word_errors
from anyx.scoring.edits import Edits, total
from anyx.scoring.statistics import wilson

Figures = dict[str, Any]


def matrix(
    corpus: Corpus,
    judges: Judges,
    jobs: Sequence[Job],
    records: Records,
    verdicts: Verdicts,
    ceilings: Figures,
    *,
    fidelity: Fidelity | None = None,
    transcripts: Sequence[str] = (),
) -> Figures:
    """All figures of a run, from the records that are there; in the routes of `transcripts` word errors too."""
    found: Figures = {split: {} for split in (*corpus.splits, *corpus.apart)}
    found |= {"cycles": {}, "decisions": {}}
    for (split, name), members in by_route(jobs).items():
        rows = records.of(members)
        judged = [verdicts[row.job] for row in rows]
        if split == PLAIN:
            found["plain_chat"] = share(judged, "plain")
            continue
        cell = route(corpus, judges, rows, judged, ceilings)
        if first_leg(members[0]) is not None:
            found["cycles"].setdefault(split, {})[name] = cell
            continue
        if fidelity is not None:
            cell["fidelity"] = fidelity(rows, judged)
        if name in transcripts:
            cell["words"] = written(rows, [corpus.label(row.job.sample) for row in rows])
        if members[0].source in corpus.synthetic.get(split, ()):
            cell["synthetic_input"] = True
        found[split][name] = cell
    plain = [job for job in jobs if job.split == PLAIN]
    for split in corpus.splits:
        single = [job for job in jobs if job.split == split and first_leg(job) is None]
        found["decisions"][split] = decisions(records.of([*single, *plain]), corpus)
    found["judges"] = ceilings
    found["labels"] = len(corpus.labels)
    return found


def route(
    corpus: Corpus, judges: Judges, rows: Sequence[Record], judged: Sequence[Verdict], ceilings: Figures
) -> Figures:
    """The figures of one route: what is valid, what each judge takes for right, and their ceilings."""
    numbers = {label: index for index, label in enumerate(corpus.labels)}
    labels = [corpus.label(row.job.sample) for row in rows]  # what hangs together: copies of one thing
    targets = [numbers[label] for label in labels]
    target = rows[0].job.target if rows else "text"
    bar, *others = judges[target]
    limits = {name: ceilings[target][name][corpus.splits[0]] for name in judges[target]}
    cell = {"n": len(rows), **shares(judged), **figures(judged, targets, labels, bar)}
    cell |= {"ceiling": limits[bar], "judge": bar}
    first = [verdict.ranked.get(bar, [])[:1] for verdict in judged]
    if corpus.aspects:
        cell["aspects"] = {
            name: round(
                sum(
                    bool(said) and values[said[0]] == values[wanted]
                    for said, wanted in zip(first, targets, strict=True)
                )
                / max(1, len(rows)),
                4,
            )
            for name, values in corpus.aspects.items()
        }
    if others:
        cell["others"] = {
            other: {**figures(judged, targets, labels, other), "ceiling": limits[other]} for other in others
        }
    return cell


def figures(judged: Sequence[Verdict], targets: Sequence[int], labels: Sequence[str], judge: str) -> Figures:
    """top-1, top-5, interval and chance by one judge."""
    ranked = [verdict.ranked.get(judge, []) for verdict in judged]
    right = [float(target in row[:1]) for row, target in zip(ranked, targets, strict=True)]
    return {
        "top1": round(sum(right) / max(1, len(right)), 4),
        "top5": round(hits(ranked, targets, 5) / max(1, len(right)), 4),
        "ci95": [round(edge, 4) for edge in bounds(right, labels)],
        "chance": round(chance(ranked, targets), 4),
    }


def shares(judged: Sequence[Verdict]) -> Figures:
    """The shares of verdicts that are valid, and exact."""
    count = max(1, len(judged))
    return {
        "valid": round(sum(verdict.valid for verdict in judged) / count, 4),
        "exact": round(sum(verdict.exact for verdict in judged) / count, 4),
    }


def share(judged: Sequence[Verdict], name: str) -> Figures:
    """The share of exact ones under a name, with its interval."""
    count = sum(verdict.exact for verdict in judged)
    edges = [round(edge, 4) for edge in wilson(count, len(judged))]
    return {"n": len(judged), name: round(count / max(1, len(judged)), 4), "ci95": edges}


def written(rows: Sequence[Record], labels: Sequence[str]) -> Figures:
    """Word error rate of replies against what they should say, its interval over labels, and the counts."""
    errors: dict[str, list[Edits]] = {}
    for label, row in zip(labels, rows, strict=True):
        errors.setdefault(label, []).append(word_errors(label, row.text))
    by_label = [total(some) for some in errors.values()]
    together = total(by_label)
    low, high = interval(by_label)
    return {"error_rate": round(together.rate, 4), "ci95": [round(low, 4), round(high, 4)], **together._asdict()}


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
    """The matrices as Markdown tables: top-1 in percent with its interval, its controls and the fidelity.

    Below each stand its cycles, and how often media came when, and only when, they were asked for.
    """
    parts = []
    for split in splits:
        head = f"| {split}, {sizes(found[split])}: in \\ out | " + " | ".join(keys) + " |"
        rows = [
            f"| **{source}** | " + " | ".join(brief(found[split].get(f"{source}->{target}")) for target in keys) + " |"
            for source in keys
        ]
        parts.append("\n".join([head, "|---" * (len(keys) + 1) + "|", *rows]))
        if told := [f"- {line}" for line in (*cycles(found, split), *decided(found, split))]:
            parts.append("\n".join(told))
    parts.append(
        "Top-1 in percent (95% interval; valid replies / chance of shuffled outputs / ceiling on real media), then "
        "fidelity with its standard error (what two real sets of the size come to)."
    )
    return "\n\n".join(parts) + "\n"


def below(found: Mapping[str, Any], floors: Mapping[str, float]) -> list[str]:
    """The cells that are right less often than the floor of their split says."""
    return [
        f"{split} {name}: {cell['top1']:.1%} of {cell['n']}, floor {floor:.1%}"
        for split, floor in floors.items()
        for name, cell in found[split].items()
        if cell["top1"] < floor
    ]
