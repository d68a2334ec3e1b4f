"""Two runs of one benchmark: a paired test of their first figure, or LAMM's GPT metric, by which a judge ranks them.

The judge reads both answers and says which is better. Each pair is shown in both orders, since judges favour a place.
The published metric asks in one order only, and its query is joined letter by letter by mistake, so that its figures
do not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyx.benchmarks import lmms, results
from anyx.benchmarks.aids import spoken
from anyx.benchmarks.choices import held, judge_of, parser_of, review_of
from anyx.benchmarks.judges import Kept, TextJudge
from anyx.benchmarks.samples import RIGHT, Benchmark, Review
from anyx.benchmarks.table import benchmark as named
from anyx.evaluation.records import Records
from anyx.scoring.compare import compare as difference
from anyx.scoring.compare import interval
from anyx.scoring.reviews import first_places

NAME = "lamm-rank@anyx-1"
TEMPLATE = """\
Two assistants answered a question about a picture that you cannot see.

Question: {question}
{reference}
--- Assistant 1 ---
{first}

--- Assistant 2 ---
{second}

--- End ---
Which answer is better: more accurate, and more to the point? Reply with one word: 1, 2, or tie."""


def compare(
    name: str,
    runs: Sequence[Path],
    *,
    parser: str | None = None,
    judge: TextJudge | None = None,
    judge_prompt: Path | None = None,
) -> dict[str, Any]:
    """The first figure of the first run less that of the second, on the samples that both answered: a paired test."""
    if any((run / lmms.SCORES).is_file() for run in runs):
        return lmms.compare(name, runs)
    family = named(name)
    review = review_of(family, judge_prompt)
    parser = parser_of(family, parser)
    both = pairs(name, runs)
    judges = [judge_of(family, run, judge) for run in runs]
    if family.review is not None:
        both = read_in_both(family, both, judges, review, parser)
    one, other = (
        results.scored(family, lines, parser, asked, review) for lines, asked in zip(both, judges, strict=True)
    )
    figure = next(iter(one.figures))
    return {
        "benchmark": name,
        "by": dict(one.by),
        "n": one.n,
        "figure": figure,
        "a": one.figures[figure],
        "b": other.figures[figure],
        **difference(one, other)._asdict(),
    }


def read_in_both(
    family: Benchmark,
    both: tuple[list[results.Line], list[results.Line]],
    judges: Sequence[TextJudge | None],
    review: Review,
    parser: str,
) -> tuple[list[results.Line], list[results.Line]]:
    """The rows of two runs of which both reviews can be read, so that items stand side by side."""
    read = []
    for lines, judge in zip(both, judges, strict=True):
        assert judge is not None, "a judged benchmark is scored by a judge"
        there = results.counted(family, results.reviewed(lines, judge, review), parser)
        read.append({line["sample"] for line in there})
    shared = read[0] & read[1]
    if not shared:
        raise ValueError("the two runs have no sample in common of which the judge's reviews can be read")
    first, second = ([line for line in lines if line["sample"] in shared] for lines in both)
    return first, second


def pairs(name: str, runs: Sequence[Path]) -> tuple[list[results.Line], list[results.Line]]:
    """The rows of the groups that both of two runs answered whole, in the same order."""
    one, other = (held(name, run) for run in runs)
    if any("imported" in run for run in (one, other)):
        raise ValueError(f"{runs[0]} and {runs[1]}: answers that were imported are compared by --compare, not ranked")
    if differing := [key for key in ("data", "split", "prompt") if one[key] != other[key]]:
        raise ValueError(f"{runs[0]} and {runs[1]} are not of the same {' and '.join(differing)}; they do not compare")
    first, second = (spoken(run, results.lines_of(run)) for run in runs)
    shared = {line["sample"] for line in first} & {line["sample"] for line in second}
    if not shared:
        raise ValueError(f"{runs[0]} and {runs[1]} have no sample of {name} in common")
    kept = [[line for line in lines if line["sample"] in shared] for lines in (first, second)]
    return kept[0], kept[1]


def rank(name: str, runs: Sequence[Path], judge: TextJudge, kept: Path) -> dict[str, Any]:
    """How often the first of two runs is put first (`won`, ties half); what the judge says is kept in a file."""
    first, second = pairs(name, runs)
    asked = {record.job.sample: record.request for record in Records(runs[0] / "records.jsonl")}
    rows, prompts = [], []
    for one, other in zip(first, second, strict=True):
        said = (one["row"]["prediction"], other["row"]["prediction"])
        for swapped in (False, True):
            rows.append({"question": one["sample"], "swapped": swapped})
            shown = said[::-1] if swapped else said
            prompts.append(prompt(asked[one["sample"]], right(one["row"]), *shown))
    reviews = Kept(judge, kept)(prompts)
    rows = [{**row, "review": review} for row, review in zip(rows, reviews, strict=True)]
    result = first_places(rows)
    read = [line for place, line in enumerate(first) if first_places(rows[2 * place : 2 * place + 2]).items]
    sources = [str(line["source"]) for line in read]
    result = replace(result, clusters=sources if len(set(sources)) < len(sources) else ())
    bounds = interval(result)
    return {
        "benchmark": name,
        "metric": result.metric,
        "by": {**result.by, "judge": judge.name, "judge_prompt": NAME, "order": "both"},
        "n": result.n,
        "figures": dict(result.figures),
        "clusters": len(set(result.clusters)) or None,
        "interval": bounds and {"of": "won", "low": bounds[0], "high": bounds[1], "level": 0.95},
    }


def right(row: Mapping[str, Any]) -> str:
    """The right answers of a row in words, as the judge reads them; nothing where it has none in words."""
    found = next((row[key] for key in RIGHT if key in row), "")
    if isinstance(found, int):
        found = row["choices"][found]
    listed = found if isinstance(found, list) and isinstance(found[0], str) else [found]
    words = "; ".join(dict.fromkeys(map(str, listed)))
    return f"Right: {words}\n" if words else ""


def prompt(question: str, reference: str, first: str, second: str) -> str:
    """What the judge reads of one pair."""
    return TEMPLATE.format(question=question, reference=reference, first=first, second=second)
