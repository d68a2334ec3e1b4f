"""MME (Fu et al. 2023, arXiv:2306.13394): two questions on each picture, one of yes and one of no, 14 subtasks.

A subtask scores 100 times the share of right answers (acc) and 100 times the share of pictures with both right (acc+):
200 at best. Perception is the sum of ten subtasks, cognition of four.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, ratio, subsets, text

PERCEPTION = (
    "existence", "count", "position", "color", "posters", "celebrity", "scene", "landmark", "artwork", "OCR",
)  # fmt: skip
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")


def mme(rows: Sequence[Row], *, parser: str = "mme@official") -> Result:
    """Score rows of `category`, `question_id` (the picture), `answer`, `prediction`; a picture's two follow each other.

    Figures in points: total, perception and cognition sum the subtasks that are there (None without any); acc and
    acc_plus are percents over all. `details` by subtask have the published scorer's keys. Items are one a picture, its
    points times the number of all pictures by that of its subtask, so that their mean is the total. ValueError: an
    unknown category, an answer that is not yes or no, a picture without two rows, an unknown parser.
    """
    read = named(parser, "mme")
    said = [read(reply) for reply in answered("mme", rows, text("category"), "question_id", text("answer"))]
    wanted = [_wanted(row["answer"], place) for place, row in enumerate(rows)]
    tasks = subsets(rows, "category")
    unknown = sorted(tasks.keys() - {*PERCEPTION, *COGNITION})
    if unknown:
        raise ValueError(f"mme: no category {', '.join(unknown)}; allowed: {', '.join((*PERCEPTION, *COGNITION))}")
    details, points = {}, {}
    for task, places in tasks.items():
        pairs = list(zip(places[::2], places[1::2], strict=False))
        if len(places) % 2 or any(rows[a]["question_id"] != rows[b]["question_id"] for a, b in pairs):
            raise ValueError(f"mme: {task} does not come in pairs; the two questions of a picture follow each other")
        hits = [(said[a] == wanted[a]) + (said[b] == wanted[b]) for a, b in pairs]
        points[task] = [50.0 * hit + 100.0 * (hit == 2) for hit in hits]
        details[task] = _task([(said[place], wanted[place]) for place in places], hits)
    right = [one == other for one, other in zip(said, wanted, strict=True)]
    pictures = sum(map(len, points.values()))
    return Result(
        metric="mme",
        by={"parser": parser},
        figures={
            "total": sum(found["score"] for found in details.values()),
            "perception": _sum(details, PERCEPTION),
            "cognition": _sum(details, COGNITION),
            "acc": 100 * sum(right) / len(rows),
            "acc_plus": 100 * sum(point == 200 for task in points.values() for point in task) / pictures,
        },
        n=len(rows),
        items=[point * pictures / len(task) for task in points.values() for point in task],
        details=details,
    )


def _wanted(answer: str, place: int) -> str:
    label = answer.strip().lower().replace(".", "")
    if label not in ("yes", "no"):
        raise ValueError(f"mme: the answer of row {place} is {answer!r}; allowed: yes, no")
    return label


def _task(labels: Sequence[tuple[str, str]], hits: Sequence[int]) -> dict[str, float]:
    """Figures of a subtask; what is neither yes nor no counts as wrong, and in no cell of the table."""
    cells = {name: labels.count(pair) for name, pair in TABLE.items()}
    acc, acc_plus = 50 * sum(hits) / len(hits), 100 * sum(hit == 2 for hit in hits) / len(hits)
    return {
        "score": acc + acc_plus,
        "acc": acc,
        "acc_plus": acc_plus,
        **cells,
        "precision": ratio(cells["TP"], cells["TP"] + cells["FP"]),
        "recall": ratio(cells["TP"], cells["TP"] + cells["FN"]),
        "other_num": sum(said == "other" for said, _ in labels),
    }


TABLE = {"TP": ("yes", "yes"), "FN": ("no", "yes"), "TN": ("no", "no"), "FP": ("yes", "no")}  # said, wanted


def _sum(details: Mapping[str, Mapping[str, float]], tasks: Sequence[str]) -> float | None:
    found = [details[task]["score"] for task in tasks if task in details]
    return sum(found) if found else None
