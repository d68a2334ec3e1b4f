"""What rows of the LAMM benchmark's tasks hold, checked before they are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyx.scoring.rows import (
    Kind,
    Row,
    among,
    are_numbers,
    checked,
    is_list,
    listed,
    number,
    numbers,
    text,
    texts,
    whole,
)

JOINTS = 14  # of a person in LSP
PARTS = {"voc": "objects", "lsp": "joints", "fsc": "points"}  # of binary locating, and what their rows hold
SIZES = {"voc_detection": 4, "binary_locating": 4, "scannet_detection3d": 6}  # numbers of an object's box
SPOTS = ("a list of points, of two or three numbers", "a list of 14 points, of two or three numbers")
PLACED = (Kind("joints", SPOTS[1], lambda found: _spots(found) and len(found) == JOINTS), numbers("image_size", 2))
ANSWERS = Kind(
    "prediction",
    f"a mapping of joint0 to joint{JOINTS - 1} to texts",
    lambda found: isinstance(found, Mapping) and all(isinstance(found.get(f"joint{n}"), str) for n in range(JOINTS)),
)
NEEDS: Mapping[str, Sequence[Kind]] = {
    "cifar10_classification": (text("label"),),
    "ucmerced": (text("label"),),
    "celeba_smile": (text("attr"),),
    "celeba_hair": (text("attr"),),
    "fsc147_counting": (number("num"),),
    "svt_ocr": (texts("word_list"),),
    "flickr30k_bleu4": (texts("references"),),
    "vqa_choice": (texts("choices"), whole("gt_choice")),
    "voc_detection": (listed("objects"),),
    "binary_locating": (),
    "lsp_pck": PLACED,
    "scanrefer_grounding3d": (numbers("bbox", 6),),
    "scannet_detection3d": (listed("objects"),),
}
LOCATED: Mapping[str, Sequence[Kind]] = {
    "objects": (listed("objects"),),
    "joints": (Kind("joints", SPOTS[0], lambda found: _spots(found) and len(found) > 0), numbers("image_size", 2)),
    "points": (Kind("points", SPOTS[0], lambda found: _spots(found)), numbers("image_size", 2)),
}


def right_rows(task: str, rows: Sequence[Row]) -> None:
    """ValueError, by the row's place, where one lacks what its task needs or holds another kind of thing there."""
    metric = f"lamm/{task}"
    checked(metric, rows, ANSWERS if task == "lsp_pck" else text("prediction"), *NEEDS[task])
    if task == "vqa_choice":
        among(metric, rows, "gt_choice", "choices")
    for place, row in enumerate(rows):
        if task == "binary_locating":
            part = next((key for key in PARTS.values() if key in row), None)
            if part is None:
                raise ValueError(f"{metric}: row {place} has none of {', '.join(PARTS.values())}; a row holds one")
            checked(metric, [row], *LOCATED[part], one=f"row {place}, part")
        if task in SIZES and "objects" in row:
            kinds = text("label"), numbers("bbox", SIZES[task])
            checked(f"{metric}: objects of row {place}", row["objects"], *kinds, one="object")


def _spots(found: object) -> bool:
    return is_list(found) and all(are_numbers(point, 2, 3) for point in found)  # type: ignore[attr-defined]
