"""Rows with their answers -> a result -> JSON and a table: figures, what they depend on, how sure they are.

Nothing here sees a model: a result is made of `records.jsonl`, `rows.jsonl` and what a judge said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyx.benchmarks.judges import TextJudge
from anyx.benchmarks.samples import Benchmark, Review
from anyx.evaluation.records import Records, whole_lines
from anyx.scoring import Result
from anyx.scoring.compare import interval
from anyx.scoring.rows import Row

Line = Mapping[str, Any]  # of rows.jsonl, with the row's `prediction`
SHOWN = 40  # details that a table prints
EACH = ("question", "image ")  # details of single questions and pictures, which are in the file alone
FIELD = re.compile(r"\{(\w+)\}")


def lines_of(out: Path, wanted: Collection[str] | None = None) -> list[Line]:
    """Rows with their answers, in the benchmark's order; `wanted` names the samples, all that are there by default.

    Groups of which an answer is missing are left out whole. ValueError: no answer is there.
    """
    said = {record.job.sample: record.text for record in Records(out / "records.jsonl")}
    lines = {line["sample"]: line for line in whole_lines(out / "rows.jsonl")}
    names = [name for name in lines if name in said and (wanted is None or name in wanted)]
    there = Counter(lines[name]["group"] for name in names)
    whole = sorted(
        (lines[name] for name in names if there[lines[name]["group"]] == lines[name]["size"]),
        key=lambda line: line["place"],
    )
    if not whole:
        left = ", ".join(f"{count} {why}" for why, count in skipped(out, (), wanted).items())
        why = f"skipped are {left}" if left else "a run without --score-only makes them"
        raise ValueError(f"--out: there are no answers in {out} to score; {why}")
    return [{**line, "row": {**line["row"], "prediction": said[line["sample"]]}} for line in whole]


def scored(benchmark: Benchmark, lines: Sequence[Line], parser: str, judge: TextJudge | None, review: Review) -> Result:
    """The result of these rows; of a benchmark with a review, by a judge. What it depends on is named in `by`."""
    by = {"prompt": benchmark.prompt}
    if benchmark.review is not None:
        assert judge is not None, "a judged benchmark is scored by a judge"
        lines = reviewed(lines, judge, review)
        by |= {"judge": judge.name, "judge_prompt": review.name}
    result = benchmark.score([line["row"] for line in lines], parser)
    if benchmark.review is not None:
        lines = counted(benchmark, lines, parser)
    sources = [str(line["source"]) for line in lines]
    together = len(result.items) == len(lines) > len(set(sources))
    return replace(result, by={**result.by, **by}, clusters=sources if together else result.clusters)


def reviewed(lines: Sequence[Line], judge: TextJudge, review: Review) -> list[Line]:
    """The rows with what a judge says of each."""
    reviews = judge([shown(review, line["row"]) for line in lines])
    return [{**line, "row": {**line["row"], "review": said}} for line, said in zip(lines, reviews, strict=True)]


def counted(benchmark: Benchmark, lines: Sequence[Line], parser: str) -> list[Line]:
    """Of reviewed rows those that have an item in the result; a review that cannot be read may have none."""
    return [line for line in lines if benchmark.score([line["row"]], parser).items]


def shown(review: Review, row: Row) -> str:
    """The judge's prompt for a row; ValueError where the template names what a row has not."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in row:
            raise ValueError(f"--judge-prompt: {match[0]} is not one of {', '.join(f'{{{key}}}' for key in row)}")
        return str(row[match[1]])

    return FIELD.sub(value, review.template)


def skipped(out: Path, lines: Sequence[Line], wanted: Collection[str] | None = None) -> dict[str, int]:
    """How many samples are not among the rows, by why: their medium's fault, or "incomplete".

    So is an answer where another of its group is missing. `wanted` names the samples that were to be asked.
    """
    why = {line["sample"]: line["fault"] for line in whole_lines(out / "skipped.jsonl")}
    why |= {record.job.sample: "incomplete" for record in Records(out / "records.jsonl")}
    scored = {line["sample"] for line in lines}
    return dict(Counter(why[name] for name in why if name not in scored and (wanted is None or name in wanted)))


def told(
    name: str, result: Result, out: Path, lines: Sequence[Line], wanted: Collection[str] | None = None
) -> dict[str, Any]:
    """What `result.json` holds; one run's is the same each time."""
    bounds = interval(result)
    return {
        "benchmark": name,
        "metric": result.metric,
        "by": dict(result.by),
        "n": result.n,
        "samples": len(lines),
        "skipped": skipped(out, lines, wanted),
        "figures": dict(result.figures),
        "interval": bounds and {"of": next(iter(result.figures)), "low": bounds[0], "high": bounds[1], "level": 0.95},
        "clusters": len(set(result.clusters)) or None,
        "details": {key: dict(values) for key, values in result.details.items()},
    }


def show(found: Mapping[str, Any]) -> None:
    """Print a result: its figures, then the details where they are few."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    by = ", ".join(f"{key} {value}" for key, value in found["by"].items())
    table = Table(title=f"{found['benchmark']} (n {found['n']}; {by})")
    before = found.get("uncorrected", {})
    for head in ("figure", "value", "95%", *(["uncorrected"] if before else [])):
        table.add_column(head, justify="left" if head == "figure" else "right")
    bounds = found["interval"]
    for place, (name, value) in enumerate(found["figures"].items()):
        sure = f"{number(bounds['low'])} to {number(bounds['high'])}" if bounds and not place else ""
        table.add_row(name, number(value), sure, *([number(before[name])] if before else []))
    cells = [
        (f"{key}: {name}", value)
        for key, values in found["details"].items()
        for name, value in values.items()
        if not key.startswith(EACH)
    ]
    for name, value in cells if len(cells) <= SHOWN else ():
        table.add_row(name, number(value), "")
    console.print(table)
    if len(cells) > SHOWN:
        console.print(f"{len(cells)} more figures by subset are in result.json", style="dim")
    if found["skipped"]:
        faults = ", ".join(f"{count} {fault}" for fault, count in found["skipped"].items())
        console.print(f"skipped, not scored: {faults} (skipped.jsonl names those at fault)", style="yellow")


def number(value: float | None) -> str:
    """Four digits after the point, none of a whole number, a dash of nothing."""
    return "-" if value is None else f"{value:.4f}".rstrip("0").rstrip(".")
