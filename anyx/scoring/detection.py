"""Average precision and recall of detected boxes, the twelve figures of COCO's evaluation, in numpy.

A detection is right where its IoU with a box of its class that is still free reaches a threshold, ten of them from 0.5
to 0.95; those with the highest scores choose first. Precision is read at 101 recalls, and figures are means over
classes and thresholds. Boxes of another size than the one asked for neither count nor are missed, and so are crowds.

Letters: d detections, g true boxes, t thresholds; boxes are (left, top, width, height) in pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anyx.scoring.features import Floats
from anyx.scoring.result import Result
from anyx.scoring.rows import Kind, checked, listed, number, numbers

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
SIZES = {"": (0, 1e10), "_small": (0, 32**2), "_medium": (32**2, 96**2), "_large": (96**2, 1e10)}  # areas in pixels
MOST = 100  # detections of a class in an image

BOX = (
    numbers("bbox", 4),
    Kind("category_id", "a number or a text", lambda value: _is_name(value)),
)

Flags = NDArray[np.bool_]
Box = Mapping[str, Any]


class Matched(NamedTuple):
    """Detections of one class in one image, highest scores first, for boxes of one size; `total` is how many count."""

    scores: Floats
    right: Flags  # (t, d)
    ignored: Flags  # (t, d)
    total: int


def overlaps(found: Floats, true: Floats, crowds: Flags) -> Floats:
    """IoU of each pair: (d, 4), (g, 4) -> (d, g); with a crowd the share of the detection that lies within."""
    low = np.maximum(found[:, None, :2], true[None, :, :2])
    high = np.minimum((found[:, :2] + found[:, 2:])[:, None], (true[:, :2] + true[:, 2:])[None])
    shared = np.maximum(0, high - low).prod(2)
    own, others = found[:, 2:].prod(1)[:, None], true[:, 2:].prod(1)[None]
    union = np.where(crowds, own, own + others - shared)
    quotients: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return quotients


def match(found: Sequence[Box], true: Sequence[Box], size: tuple[float, float]) -> Matched:
    """Give each detection the box that it overlaps most, of those that are free, at every threshold."""
    ranked = sorted(found, key=lambda box: -box["score"])[:MOST]
    crowds = np.array([bool(box.get("iscrowd", 0)) for box in true], dtype=bool)
    boxes, wanted = (np.array([box["bbox"] for box in some], dtype=float).reshape(-1, 4) for some in (ranked, true))
    areas = np.array([box.get("area", box["bbox"][2] * box["bbox"][3]) for box in true], dtype=float)
    out = crowds | (areas < size[0]) | (areas > size[1])
    order = np.argsort(out, kind="stable")  # boxes that count are chosen before those that do not
    crowds, out = crowds[order], out[order]
    table = overlaps(boxes, wanted[order], crowds)
    right, ignored = (np.zeros((len(THRESHOLDS), len(ranked)), dtype=bool) for _ in range(2))
    for level, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(true), dtype=bool)
        for place in range(len(ranked)):
            able = (free | crowds) & (table[place] >= threshold)
            for among in (able & ~out, able & out):
                if among.any():
                    best = np.flatnonzero(among & (table[place] == table[place][among].max()))[-1]
                    free[best] = False
                    right[level, place], ignored[level, place] = True, out[best]
                    break
    small_or_large = (boxes[:, 2:].prod(1) < size[0]) | (boxes[:, 2:].prod(1) > size[1])
    ignored |= ~right & small_or_large
    return Matched(np.array([box["score"] for box in ranked], dtype=float), right, ignored, int((~out).sum()))


def curves(images: Sequence[Matched], most: int) -> tuple[Floats, Floats] | None:
    """Precision at each threshold and recall (t, 101), and the recall reached (t); None where no box counts."""
    total = sum(image.total for image in images)
    if not total:
        return None
    scores = np.concatenate([image.scores[:most] for image in images])
    order = np.argsort(-scores, kind="stable")
    right, ignored = (np.concatenate([flags[:, :most] for flags in some], axis=1)[:, order] for some in (
        [image.right for image in images], [image.ignored for image in images]
    ))  # fmt: skip
    hits, misses = ((flags & ~ignored).cumsum(1) for flags in (right, ~right))
    precisions, reached = np.zeros((len(THRESHOLDS), len(RECALLS))), np.zeros(len(THRESHOLDS))
    for level in range(len(THRESHOLDS)):
        recall = hits[level] / total
        precision = hits[level] / np.maximum(1, hits[level] + misses[level])
        best = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, RECALLS)
        inside = places < len(best)
        precisions[level, inside] = best[places[inside]]
        reached[level] = recall[-1] if len(recall) else 0
    return precisions, reached


def detection(rows: Sequence[Mapping[str, Any]]) -> Result:
    """Score images: `image_id`, `gt` (boxes of `bbox`, `category_id`, perhaps `area`, `iscrowd`), `pred` (and `score`).

    Figures are AP, AP50, AP75, AR1, AR10, AR100, and AP and AR of small, medium and large boxes (by area: up to 32^2,
    96^2 pixels); None where no box is of a size. `details` have AP by class. ValueError: a row or box that lacks one of
    these, or holds another kind of thing there.
    """
    checked("detection", rows, Kind("image_id", "a number or a text", _is_name), listed("gt"), listed("pred"))
    for place, row in enumerate(rows):
        checked(f"detection: gt of row {place}", row["gt"], *BOX, one="box")
        checked(f"detection: pred of row {place}", row["pred"], *BOX, number("score"), one="box")
    boxes: dict[Any, list[tuple[list[Box], list[Box]]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (isinstance(row["image_id"], str), row["image_id"])):
        for kind in {box["category_id"] for box in (*row["gt"], *row["pred"])}:
            found, true = ([box for box in row[key] if box["category_id"] == kind] for key in ("pred", "gt"))
            boxes[kind].append((found, true))
    figures: dict[str, float | None] = dict.fromkeys(("AP", "AP50", "AP75"))
    details: dict[str, Mapping[str, float | None]] = {}
    for size, bounds in SIZES.items():
        matched = {kind: [match(*pair, bounds) for pair in boxes[kind]] for kind in sorted(boxes)}
        for most in (1, 10, MOST) if not size else (MOST,):
            measured = {kind: both for kind, images in matched.items() if (both := curves(images, most))}
            figures[f"AR{size or most}"] = _mean([reached for _, reached in measured.values()])
            if most == MOST:
                precise = [precisions for precisions, _ in measured.values()]
                figures[f"AP{size}"] = _mean(precise)
            if most == MOST and not size:
                figures |= {"AP50": _mean([one[0] for one in precise]), "AP75": _mean([one[5] for one in precise])}
                details = {str(kind): {"AP": float(both[0].mean())} for kind, both in measured.items()}
    return Result(metric="detection", by={"protocol": "coco"}, figures=figures, n=len(rows), details=details)


def _is_name(value: object) -> bool:
    return isinstance(value, int | str)


def _mean(tables: Sequence[Floats]) -> float | None:
    return float(np.mean(tables)) if tables else None
