"""POPE (Li et al. 2023, arXiv:2305.10355): is there a ... in the picture? with three ways to choose what is not.

"Yes" is the positive label; the categories are random, popular and adversarial.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, mean, ratio, subsets, text


def pope(rows: Sequence[Row], *, parser: str = "pope@llava") -> Result:
    """Score rows of `category`, `answer` ("yes" or "no"), `prediction`.

    Figures are shares: accuracy over all, f1 as the mean over categories (the figure that LLaVA's table gives), and the
    yes ratio of the predictions. `details` by category. Read by `pope@lmms` an answer may be neither: it counts as
    wrong, and in no cell of the table; `details` then also have lmms-eval's yes ratio, which counts the right answers
    instead of the given ones, as `yes_ratio_BUG_counts_gt`.
    """
    read = named(parser, "pope")
    said = [read(reply) for reply in answered("pope", rows, "category", text("answer"))]
    wanted = [row["answer"].lower().strip() for row in rows]
    if odd := [place for place, label in enumerate(wanted) if label not in ("yes", "no")]:
        raise ValueError(f"pope: the answer of row {odd[0]} is {wanted[odd[0]]!r}; allowed: yes, no")
    labels = list(zip(said, wanted, strict=True))
    details = {
        name: _category([labels[place] for place in places], parser == "pope@lmms")
        for name, places in subsets(rows, "category").items()
    }
    items = [float(one == other) for one, other in labels]
    return Result(
        metric="pope",
        by={"parser": parser},
        figures={
            "accuracy": mean(items),
            "f1": mean([found["f1"] for found in details.values()]),
            "yes_ratio": said.count("yes") / len(rows),
        },
        n=len(rows),
        items=items,
        share=True,
        details=details,
    )


def _category(labels: Sequence[tuple[str, str]], bug: bool) -> dict[str, float]:
    """Figures of one category from what was said and what is right; 0 where nothing was said or is yes."""
    positive, missed = labels.count(("yes", "yes")), labels.count(("no", "yes"))
    negative, invented = labels.count(("no", "no")), labels.count(("yes", "no"))
    precision, recall = ratio(positive, positive + invented), ratio(positive, positive + missed)
    figures = {
        "TP": float(positive),
        "FP": float(invented),
        "TN": float(negative),
        "FN": float(missed),
        "accuracy": (positive + negative) / len(labels),
        "precision": precision,
        "recall": recall,
        "f1": ratio(2 * precision * recall, precision + recall),
        "yes_ratio": (positive + invented) / len(labels),
    }
    if bug:
        figures["yes_ratio_BUG_counts_gt"] = sum(wanted == "yes" for _, wanted in labels) / len(labels)
    return figures
