"""Boxes said for a referring sentence: RefCOCO, RefCOCO+, RefCOCOg (Kazemzadeh et al. 2014), one row a sentence.

Boxes are (left, top, right, bottom), in the same unit on both sides; the published prompt wants shares of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row, answered, mean, numbers

THRESHOLDS = (0.5, 0.1, 0.3, 0.7, 0.9)


def boxes(rows: Sequence[Row], *, parser: str = "box@brackets") -> Result:
    """Score rows of `box` (four numbers), `prediction`; where no box is read it is (0, 0, 0, 0), as published.

    Figures are shares: acc@t, with an IoU of t or more; iou, the mean; centre, the said box's centre inside the other,
    edges included; and `unread`, how many answers held no box. Items are hits at 0.5.
    """
    read = named(parser, "box")
    found = [read(text) for text in answered("boxes", rows, numbers("box", 4))]
    pairs = [(box or (0.0, 0.0, 0.0, 0.0), row["box"]) for box, row in zip(found, rows, strict=True)]
    overlaps = [iou(said, wanted) for said, wanted in pairs]
    accuracy = {f"acc@{least}": mean([float(overlap >= least) for overlap in overlaps]) for least in THRESHOLDS}
    centred = mean([float(_centred(said, wanted)) for said, wanted in pairs])
    return Result(
        metric="boxes",
        by={"parser": parser},
        figures={**accuracy, "iou": mean(overlaps), "centre": centred, "unread": float(found.count(None))},
        n=len(rows),
        items=[float(overlap >= THRESHOLDS[0]) for overlap in overlaps],
        share=True,
    )


def iou(one: Sequence[float], other: Sequence[float]) -> float:
    """The intersection of two boxes over their union; 0 where the union is empty."""
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    union = areas - wide * high
    return wide * high / union if union else 0.0


def _centred(said: Sequence[float], wanted: Sequence[float]) -> bool:
    across, down = (said[0] + said[2]) / 2, (said[1] + said[3]) / 2
    return wanted[0] <= across <= wanted[2] and wanted[1] <= down <= wanted[3]
