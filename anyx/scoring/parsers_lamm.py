"""How the LAMM benchmark of 2023 reads answers, under one name: what is read is the second thing to be given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyx.scoring.lamm_answers import chosen, mentions, number, quoted, says, smiling
from anyx.scoring.lamm_places import boxes, places

READERS: Mapping[str, Callable[..., Any]] = {
    "label": lambda text, label: says(label, text),  # whether a word of the text names the label
    "class": lambda text, label: mentions(label, text),  # whether its name is in the text, of several words perhaps
    "smile": smiling,  # "1" or "-1"
    "number": number,
    "quoted": quoted,
    "choice": chosen,  # text, options, the right one's place -> whether it is chosen
    "points": lambda text: places(text, 2),
    "boxes": boxes,  # left, top, right, bottom
    "solids": lambda text: places(text, 6),  # boxes in space: centre and size
}


def lamm_2023(text: str, what: str, *right: Any) -> Any:
    """What an answer says by LAMM's rules: `what` is a key of `READERS`, which says what else it needs.

    ValueError: another `what`.
    """
    if what not in READERS:
        raise ValueError(f"lamm@2023: {what!r} given; it reads {', '.join(READERS)}")
    return READERS[what](text, *right)
