"""Results of lmms-eval -> ours: what `--output_path DIR --log_samples` wrote becomes records, scores, `result.json`.

out/records.jsonl   what was asked and answered, a line a sample
out/scores.jsonl    the scores of each sample, by which two imported runs are compared pair by pair
out/result.json     figures and their standard errors as lmms-eval has them, the interval as everywhere here

Nothing is scored again: the figures are those of lmms-eval's own parsers, which `by` says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from anyx.benchmarks import results
from anyx.benchmarks.exported import Exported, exported, figures_of, means_of, scored
from anyx.evaluation.records import Job, Record, Records, whole_lines
from anyx.evaluation.run import claim
from anyx.scoring import Result
from anyx.scoring.compare import compare as difference

SCORES = "scores.jsonl"
SCALES = (1.0, 100.0)  # figures that are a mean are shares or points in a hundred


def imported(name: str, source: Path, out: Path, *, show: bool = True) -> dict[str, Any]:
    """Bring a task's results into `out`; returns what `result.json` holds.

    `source` is what `--output_path` named, or a folder in it. ValueError: the task is not in it, or without samples;
    `out` holds another run.
    """
    found = exported(name, source)
    run = {"benchmark": name, "imported": found.file.name, "model": found.model, "form": found.form}
    claim(out, run)
    lines = scored(found)
    (out / SCORES).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    records = Records(out / "records.jsonl")
    for record in recorded(found):
        if record.job not in records:
            records.add(record)
    figures, errors = figures_of(found)
    by = {"harness": found.version, "task": found.task}
    result = result_of(name, by, figures, lines, means=means_of(found))
    told = results.told(name, result, out, lines) | {"stderr": errors, "scale": result.scale if result.items else None}
    (out / "result.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if show:
        results.show(told)
    return told


def compare(name: str, runs: Sequence[Path]) -> dict[str, Any]:
    """A paired test of two imported runs: the scores of the first figure, on the samples that have one in both."""
    one, other = (_held(name, run) for run in runs)
    figure = next(iter(one["figures"]))
    first, second = ({line["sample"]: line for line in having(whole_lines(run / SCORES), figure)} for run in runs)
    shared = [sample for sample in first if sample in second]
    if not shared:
        raise ValueError(f"{runs[0]} and {runs[1]} have no sample of {name} in common with a score of {figure}")
    if any(first[sample][key] != second[sample][key] for sample in shared for key in ("target", "cluster")):
        raise ValueError(f"{runs[0]} and {runs[1]} are not of the same data; they do not compare")
    scale = one["scale"] or other["scale"]
    a, b = (
        result_of(name, held["by"], {figure: None}, [lines[sample] for sample in shared], scale or 1.0)
        for held, lines in ((one, first), (other, second))
    )
    means = {side: result.scale * sum(result.items) / len(shared) for side, result in (("a", a), ("b", b))}
    what = figure if scale else f"mean score a sample of {figure}"
    return {
        "benchmark": name,
        "by": dict(a.by),
        "n": len(shared),
        "figure": what,
        **means,
        **difference(a, b)._asdict(),
    }


def recorded(found: Exported) -> Sequence[Record]:
    """What was asked and answered as records; an answer that is not a text is there as JSON."""
    taken: dict[str, Record] = {}
    settings = found.config.get("generation_kwargs") or {}
    for sample in found.samples:
        job = Job(found.name, "plain", str(sample["doc_id"]), 0)
        said = sample["filtered_resps"]
        answer = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        asked = {"role": "user", "content": str(sample["input"])}
        record = Record(job, [asked], [{"type": "text", "text": answer}], 0, dict(settings), found.model)
        taken.setdefault(job.sample, record)
    return list(taken.values())


def result_of(
    name: str,
    by: Mapping[str, str],
    figures: Mapping[str, float | None],
    lines: Sequence[Mapping[str, Any]],
    scale: float | None = None,
    *,
    means: Collection[str] = (),
) -> Result:
    """A result whose first figure is the one that most samples have a score of.

    Items are there where that figure is `scale` times their mean; without `scale` it is found. `means` are figures that
    are known to be means: of others nothing can be seen where all items are the same.
    """
    first = max(figures, key=lambda figure: len(having(lines, figure)))
    there = having(lines, first)
    items = [line["scores"][first] for line in there]
    seen = first in means or len(set(items)) > 1
    times = scale if scale is not None else scale_of(items, figures[first]) if seen else None
    clusters = [str(line["cluster"]) for line in there if line["cluster"] is not None]
    grouped = clusters if len(clusters) == len(there) > len(set(clusters)) else []
    if times is None:
        items, grouped = [], []
    figures = {first: figures[first]} | dict(figures)
    hits = set(items) <= {0.0, 1.0}  # nothing says what a score is: of ones and noughts alone it is taken for a share
    return Result(first, dict(by), figures, len(lines), items, grouped, times or 1.0, share=hits)


def having(lines: Sequence[Mapping[str, Any]], figure: str) -> list[Mapping[str, Any]]:
    """The lines with a score of a figure."""
    return [line for line in lines if line["scores"].get(figure) is not None]


def scale_of(items: Sequence[float], figure: float | None) -> float | None:
    """What the mean of the items is multiplied by to be the figure; None where that is another function of them."""
    if not items or figure is None:
        return None
    mean = sum(items) / len(items)
    return next((scale for scale in SCALES if math.isclose(scale * mean, figure, rel_tol=1e-6, abs_tol=1e-9)), None)


def _held(name: str, run: Path) -> dict[str, Any]:
    """The `result.json` of an imported run."""
    if not (run / SCORES).is_file():
        raise ValueError(f"--compare: {run} holds no imported run; two of one kind compare")
    found: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    if found["benchmark"] != name:
        raise ValueError(f"--compare: {run} holds a run of {found['benchmark']!r}, not of {name!r}")
    return found
