"""`benchmark`: a model, a benchmark's name and its released files -> records -> `result.json`. See `anyx benchmark -h`.

out/records.jsonl     what was asked and answered, a line a sample; a stopped run goes on after the last
out/rows.jsonl        what scoring needs of each sample: right answers, categories
out/skipped.jsonl     samples whose picture is missing or broken
out/judgements.jsonl  what a judge said, by the digest of its prompt
out/marks.jsonl, corrections.jsonl, objects.jsonl   of a run that is helped; see `anyx.benchmarks.aids`
out/result.json       figures, their interval, details, and the split, parser, prompt and judge they hang on
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyx.benchmarks import results
from anyx.benchmarks.aids import Aids, corrected, pictures_of, spoken
from anyx.benchmarks.asking import ask, chosen, read
from anyx.benchmarks.chairs import of_captions, with_chair
from anyx.benchmarks.choices import held, judge_of, parser_of, ready, review_of
from anyx.benchmarks.judges import TextJudge
from anyx.benchmarks.samples import RIGHT, Review
from anyx.benchmarks.table import benchmark as named
from anyx.digests import files_digest
from anyx.evaluation.records import Records
from anyx.evaluation.report import progress
from anyx.evaluation.routes import Model
from anyx.evaluation.run import claim, identity_of
from anyx.scoring import Result

BATCH = 8
NONE = Aids()


def benchmark(
    name: str,
    data: Path,
    out: Path,
    *,
    model: Model,
    identity: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    batch: int = BATCH,
    max_new_tokens: int | None = None,
    seed: int = 0,
    parser: str | None = None,
    judge: TextJudge | None = None,
    judge_prompt: Path | None = None,
    aids: Aids = NONE,
    show: bool = True,
) -> dict[str, Any] | None:
    """Ask a model and score it; returns what `result.json` holds, None where a judge is wanted and none is given.

    `identity` tells the model, by its weights unless given. `limit` asks so many groups of samples, spread evenly.
    ValueError: an unknown name or parser, a folder of another form, an `out` with another run.
    """
    family, parser, split, files = ready(name, data, split, parser, judge_prompt)
    tokens = family.max_new_tokens if max_new_tokens is None else max_new_tokens
    wanted = chosen(read(family, data, split), limit)
    run: dict[str, Any] = {
        "benchmark": name,
        "data": files_digest(data, files),
        "split": split,
        "model": identity or identity_of(model),
    }
    run |= {"prompt": family.prompt, "batch": batch, "max_new_tokens": tokens, "seed": seed}
    run |= {"marks": aids.marker.name} if aids.marker is not None else {}
    claim(out, run)
    with progress(name, len(wanted), show) as advance:
        ask(
            model,
            name,
            read(family, data, split),
            wanted,
            Records(out / "records.jsonl"),
            out,
            identity=run["model"],
            batch=batch,
            max_new_tokens=tokens,
            seed=seed,
            marker=aids.marker,
            progress=advance,
        )
    if family.review is not None and judge is None and not (out / "judgements.jsonl").is_file():
        return None
    return scored(name, out, wanted, parser, judge, judge_prompt, aids, show)


def score(
    name: str,
    out: Path,
    *,
    parser: str | None = None,
    judge: TextJudge | None = None,
    judge_prompt: Path | None = None,
    aids: Aids = NONE,
    show: bool = True,
) -> dict[str, Any]:
    """Score all answers that lie in `out`; neither a model nor the benchmark's files are needed."""
    held(name, out)
    return scored(name, out, None, parser_of(named(name), parser), judge, judge_prompt, aids, show)


def scored(
    name: str,
    out: Path,
    wanted: Collection[str] | None,
    parser: str,
    judge: TextJudge | None,
    judge_prompt: Path | None,
    aids: Aids,
    show: bool,
) -> dict[str, Any]:
    """Write and print the result of the samples that are wanted, all that are there by default."""
    family, lines = named(name), results.lines_of(out, wanted)
    if unknown := sum(not any(key in line["row"] for key in RIGHT) for line in lines):
        raise ValueError(
            f"{name}: {unknown} samples have no right answer: the records in {out} are to send, not to score"
        )
    review = review_of(family, judge_prompt)
    lines, before = spoken(out, lines), None
    if aids.corrector is not None:
        if family.review is None:
            before = helped(name, out, lines, parser, None, review, replace(aids, corrector=None), show)
        with progress("corrected", len(lines), show) as advance:
            lines = corrected(out, lines, aids.corrector, advance)
    result = helped(name, out, lines, parser, judge, review, aids, show)
    told = results.told(name, result, out, lines, wanted)
    if before is not None:
        told["uncorrected"] = dict(before.figures)
    (out / "result.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if show:
        results.show(told)
    return told


def helped(
    name: str,
    out: Path,
    lines: Sequence[results.Line],
    parser: str,
    judge: TextJudge | None,
    review: Review,
    aids: Aids,
    show: bool,
) -> Result:
    """The result of rows as they are now, with what helped them named in `by`, and CHAIR where it is wanted."""
    family = named(name)
    with progress("judged", len(lines), show and family.review is not None) as advance:
        result = results.scored(family, lines, parser, judge_of(family, out, judge, advance), review)
    if aids.chair is not None:
        of_captions(name)
        result = with_chair(result, lines, aids.chair, out, pictures_of(out))
    run = held(name, out)
    by = {key: run[key] for key in ("split", "marks") if run.get(key)}
    by |= {"correction": aids.corrector.name} if aids.corrector is not None else {}
    return replace(result, by={**result.by, **by})
