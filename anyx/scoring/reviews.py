"""Figures from what a judge, mostly a language model, said of answers: LLaVA-Bench, MM-Vet, LAMM's GPT metric.

Rows hold the judge's words as `review`; who the judge was and how it was asked stands in the result by their caller. A
review that cannot be read is counted as `unread`.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, mean, needed, subsets, text, texts


def llava_bench(rows: Sequence[Row], *, parser: str = "review@line") -> Result:
    """LLaVA-Bench (Liu et al. 2023, arXiv:2304.08485) of rows of `category`, `review`: points of reference and answer.

    Figures: relative, 100 times the answers' points over the references', and `unread` reviews, which are left out.
    `details` by category, with the mean points times ten. Items are the answer's points over the mean of the
    references', so that an interval takes the references as given; where some were left out, `clusters` are the places
    of the others, so that no run is compared with one of which other reviews were read.
    """
    read = named(parser, "review")
    needed("llava_bench", rows, "category", text("review"))
    found = [read(row["review"]) for row in rows]
    pairs = [(pair, row) for pair, row in zip(found, rows, strict=True) if pair and pair[0] > 0]
    places = [str(place) for place, pair in enumerate(found) if pair and pair[0] > 0]
    level = mean([pair[0] for pair, _ in pairs])
    details = {
        name: _points([pairs[place][0] for place in some])
        for name, some in subsets([row for _, row in pairs], "category").items()
    }
    return Result(
        metric="llava_bench",
        by={"parser": parser},
        figures={**_points([pair for pair, _ in pairs]), "unread": float(len(rows) - len(pairs))},
        n=len(pairs),
        items=[pair[1] / level for pair, _ in pairs] if level else [],
        clusters=places if len(places) < len(rows) else (),
        scale=100.0,
        details=details,
    )


def _points(pairs: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    reference, answer = sum(pair[0] for pair in pairs), sum(pair[1] for pair in pairs)
    return {
        "relative": 100 * answer / reference if reference else None,
        "reference": 10 * reference / len(pairs) if pairs else None,
        "answer": 10 * answer / len(pairs) if pairs else None,
    }


def mm_vet(rows: Sequence[Row], *, parser: str = "grade@first") -> Result:
    """MM-Vet (Yu et al. 2023, arXiv:2308.02490) of rows of `capability` (a list), `review`: grades from 0 to 1.

    Figures: total, 100 times the mean grade, where an unread one counts as 0. `details` by capability, for which a
    question counts in each that it asks for, and by integration, their combination.
    """
    read = named(parser, "grade")
    needed("mm_vet", rows, texts("capability"), text("review"))
    grades = [read(row["review"]) for row in rows]
    items = [grade or 0.0 for grade in grades]
    capabilities: dict[str, list[float]] = {}
    integrations: dict[str, list[float]] = {}
    for item, row in zip(items, rows, strict=True):
        integrations.setdefault("+".join(sorted(row["capability"])), []).append(item)
        for name in row["capability"]:
            capabilities.setdefault(name, []).append(item)
    return Result(
        metric="mm_vet",
        by={"parser": parser},
        figures={"total": 100 * sum(items) / len(items), "unread": float(grades.count(None))},
        n=len(rows),
        items=items,
        share=True,
        scale=100.0,
        details={
            "capability": {name: 100 * sum(some) / len(some) for name, some in capabilities.items()},
            "integration": {name: 100 * sum(some) / len(some) for name, some in integrations.items()},
        },
    )


def first_places(rows: Sequence[Row], *, parser: str = "rank@first") -> Result:
    """LAMM's GPT metric (Yin et al. 2023, arXiv:2306.06687): how often a judge puts system a before system b.

    Rows of `question` (its name), `review`, `swapped` (whether b's answer was shown first). Figures are shares of the
    reviews that were read: a, b and tie. Items are one a question, the mean over its orders of 1 for a, 0 for b and
    0.5 for a tie; a question of which no review was read has none.
    """
    read = named(parser, "rank")
    needed("first_places", rows, text("question"), text("review"), "swapped")
    points: dict[str, list[float]] = {}
    said = []
    for row in rows:
        first = read(row["review"])
        winner = first if first in (None, "tie") else "a" if (first == "1") != row["swapped"] else "b"
        said.append(winner)
        if winner:
            points.setdefault(row["question"], []).append({"a": 1.0, "b": 0.0, "tie": 0.5}[winner])
    whole = len(said) - said.count(None)
    items = [sum(some) / len(some) for some in points.values()]
    return Result(
        metric="first_places",
        by={"parser": parser},
        figures={
            "won": mean(items),
            **{name: said.count(name) / whole if whole else None for name in ("a", "b", "tie")},
            "unread": float(said.count(None)),
        },
        n=len(items),
        items=items,
        share=True,
    )
