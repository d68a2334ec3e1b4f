"""The thirteen metrics of the LAMM benchmark (2023), by the name of its task: `lamm("voc_detection", rows)`.

Rows are mappings with a `prediction` and what it should say. What the paper calls mAP of VOC is the recall of boxes
whose class is mentioned anywhere, as a word of its own. Its PCK of key points was always printed as 0, for the hits
were not added up; here they are, unless `as_published`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from anyx.scoring.bleu import matches, plain_bleu
from anyx.scoring.boxes import iou
from anyx.scoring.lamm_answers import PARSER
from anyx.scoring.lamm_places import inside, near, overlap_in_space, shares
from anyx.scoring.lamm_rows import JOINTS, PARTS, right_rows
from anyx.scoring.parsers import named
from anyx.scoring.result import Result
from anyx.scoring.rows import Row

FEW = 10  # objects: pictures with as many or more are not asked for their places

Hits = list[float]

read = named(PARSER, "lamm")


def named_cifar(row: Row) -> Hits:
    """The label of a picture, or a word of its first meaning."""
    return [float(read(row["prediction"], "label", row["label"]))]


def named_hair(row: Row) -> Hits:
    """The colour of hair, or a word of its first meaning."""
    return [float(read(row["prediction"], "label", row["attr"]))]


def named_scene(row: Row) -> Hits:
    """The label anywhere in the text."""
    return [float(row["label"].lower() in row["prediction"].lower())]


def smiles(row: Row) -> Hits:
    """Whether somebody smiles: `1` or `-1`."""
    return [float(read(row["prediction"], "smile") == row["attr"])]


def counted(row: Row) -> Hits:
    """How far the number is off; what holds no number counts as 0."""
    return [float(abs((read(row["prediction"], "number") or 0) - row["num"]))]


def spelt(row: Row) -> Hits:
    """The share of a sign's words that were said, each between blanks; case does not count."""
    said = read(row["prediction"], "quoted").lower().split()
    return [sum(word.lower() in said for word in row["word_list"]) / len(row["word_list"])]


def told(row: Row) -> Hits:
    """BLEU-4 of the best of a caption's sentences, nothing added and case counting."""
    right = [text.strip().rstrip(".").split() for text in row["references"]]
    sentences = [words for part in read(row["prediction"], "quoted").split(".") if (words := part.split())]
    return [max((plain_bleu(matches(words, right)) for words in sentences), default=0.0)]


def picked(row: Row) -> Hits:
    """The right choice."""
    return [float(read(row["prediction"], "choice", row["choices"], int(row["gt_choice"])))]


def found_boxes(row: Row) -> Hits:
    """For each object, whether its class is mentioned and some box overlaps it by more than a half."""
    said = read(row["prediction"], "boxes")
    return [
        float(read(row["prediction"], "class", each["label"]) and any(iou(box, each["bbox"]) > 0.5 for box in said))
        for each in row["objects"]
    ]


def pointed(row: Row) -> Hits:
    """For each thing that was asked for, whether some point that is said lies on it.

    An object (`objects`) is met within its box where its class is mentioned; a person within the box around their
    `joints`; of a picture with few `points` each is met by a point nearby, and of one with many nothing was asked.
    """
    said = read(row["prediction"], "points")
    if "objects" in row:
        return [
            float(read(row["prediction"], "class", each["label"]) and any(inside(p, each["bbox"]) for p in said))
            for each in row["objects"]
        ]
    if "joints" in row:
        across, down = zip(*shares(row["joints"], row["image_size"]), strict=True)
        body = (min(across), min(down), max(across), max(down))
        return [float(any(inside(point, body) for point in said))]
    right = shares(row["points"], row["image_size"])
    return [float(any(near(point, each) for point in said)) for each in right] if len(right) < FEW else []


def joints(row: Row) -> Hits:
    """For each joint, whether the first point of its own answer, `joint0` to `joint13`, is near."""
    answers = [read(row["prediction"][f"joint{place}"], "points") for place in range(JOINTS)]
    right = shares(row["joints"], row["image_size"])
    return [float(bool(said) and near(said[0], joint)) for said, joint in zip(answers, right, strict=True)]


def grounded(row: Row) -> float | None:
    """IoU of the first box in space that is said; None where none is."""
    said = read(row["prediction"], "solids")
    return overlap_in_space(said[0], row["bbox"]) if said else None


def found_in_space(row: Row) -> Hits:
    """For each object, whether its class is mentioned and some box in space overlaps it by more than a half."""
    said = read(row["prediction"], "solids")
    return [
        float(
            read(row["prediction"], "class", each["label"])
            and any(overlap_in_space(box, each["bbox"]) > 0.5 for box in said)
        )
        for each in row["objects"]
    ]


TASKS: dict[str, tuple[str, Callable[[Row], Hits], float]] = {  # the first figure, the values of a row, the scale
    "cifar10_classification": ("acc", named_cifar, 1),
    "ucmerced": ("acc", named_scene, 1),
    "celeba_smile": ("acc", smiles, 1),
    "celeba_hair": ("acc", named_hair, 1),
    "fsc147_counting": ("mae_total", counted, 1),
    "svt_ocr": ("word_acc", spelt, 1),
    "flickr30k_bleu4": ("bleu4_x100", told, 100),
    "vqa_choice": ("acc", picked, 1),
    "voc_detection": ("score", found_boxes, 1),
    "binary_locating": ("acc", pointed, 1),
    "lsp_pck": ("pck", joints, 1),
    "scanrefer_grounding3d": ("acc@0.5", lambda row: [float((grounded(row) or 0) > 0.5)], 1),
    "scannet_detection3d": ("score", found_in_space, 1),
}


def lamm(task: str, rows: Sequence[Row], *, as_published: bool = False) -> Result:
    """Score the rows of a task of `TASKS`; `items` are of objects, joints or rows, and `clusters` the place of the row.

    Rows of `binary_locating` are of three sets together, told apart by what they hold: `objects`, `joints` or `points`.
    A ValueError names an unknown task, or the row that lacks what its task needs or holds another kind of thing there.
    """
    if task not in TASKS:
        raise ValueError(f"task: {task!r} given; one of {', '.join(TASKS)}")
    right_rows(task, rows)
    figure, values, scale = TASKS[task]
    items, clusters = list[float](), list[str]()
    for place, row in enumerate(rows):
        found = values(row)
        items += [0.0] * len(found) if as_published and task == "lsp_pck" else found
        clusters += [str(place)] * len(found)
    figures: dict[str, float | None] = {figure: scale * mean(items)} if items else {figure: None}
    details: dict[str, Mapping[str, float | None]] = {}
    if task == "fsc147_counting":
        few = [item for item, row in zip(items, rows, strict=True) if row["num"] < FEW]
        figures["mae_gt_below_10"] = mean(few) if few else None
    if task == "scanrefer_grounding3d" and rows:
        figures["acc@0.25"] = mean([float((grounded(row) or 0) > 0.25) for row in rows])
    if task == "binary_locating":
        for name, key in PARTS.items():
            some = [item for item, place in zip(items, clusters, strict=True) if key in rows[int(place)]]
            details[name] = {"correct": sum(some), "total": len(some)}
    by = {"parser": PARSER, "pck": "as published: always 0"} if as_published else {"parser": PARSER}
    return Result(
        metric=f"lamm/{task}",
        by=by,
        figures=figures,
        n=len(items),
        items=items,
        clusters=clusters,
        scale=scale,
        share=task != "fsc147_counting",
        details=details,
    )


def mean(values: Sequence[float]) -> float:
    """The mean of one value or more."""
    return sum(values) / len(values)
