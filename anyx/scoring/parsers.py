"""Parsers of answers by name and version: a score means nothing without the one that read the answers.

The same MME answers score 1078 read by `mme@official` and 1163 by `mme@lmms`. A metric takes a parser by name, its
result says which in `by`, and a parser that has to change gets a new name. To add one: a function in the file of its
kind, a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyx.scoring.parsers_lamm import lamm_2023
from anyx.scoring.parsers_letters import mcq_mmmu, mcq_vlmeval, seed_first, sqa_llava, sqa_lmms
from anyx.scoring.parsers_reviews import grade_first, rank_first, review_line
from anyx.scoring.parsers_text import anls_lmms, box_brackets, gqa_llava, gqa_lmms, open_mmmu
from anyx.scoring.parsers_vqa import vqa_m4c, vqa_official
from anyx.scoring.parsers_yes_no import mme_lmms, mme_official, pope_llava, pope_lmms

PARSERS: Mapping[str, Callable[..., Any]] = {
    "mme@official": mme_official,  # text -> "yes", "no" or "other"
    "mme@lmms": mme_lmms,
    "pope@llava": pope_llava,
    "pope@lmms": pope_lmms,
    "mcq@vlmeval": mcq_vlmeval,  # text, options by letter -> a letter or None
    "mcq@mmmu": mcq_mmmu,
    "sqa@llava": sqa_llava,
    "sqa@lmms": sqa_lmms,
    "seed@first": seed_first,
    "open@mmmu": open_mmmu,  # text -> what it may be saying, texts and numbers
    "vqa@official": vqa_official,  # text -> text, to be equal
    "vqa@m4c": vqa_m4c,
    "gqa@lmms": gqa_lmms,
    "gqa@llava": gqa_llava,
    "anls@lmms": anls_lmms,
    "box@brackets": box_brackets,  # text -> left, top, right, bottom, or None
    "review@line": review_line,  # a judge's words -> points of two answers, or None
    "grade@first": grade_first,  # -> a grade from 0 to 1, or None
    "lamm@2023": lamm_2023,  # text, what to read, what is right -> see there
    "rank@first": rank_first,  # -> "1", "2" or "tie", or None
}


def named(name: str, *families: str) -> Callable[..., Any]:
    """The parser of that name, which has to be of one of the families: `named("mme@lmms", "mme")`.

    ValueError: there is none of that name, or it is of another family; the message lists those allowed.
    """
    allowed = [known for known in PARSERS if known.split("@")[0] in families]
    if name not in allowed:
        raise ValueError(f"no parser {name!r} here; allowed: {', '.join(allowed)}")
    return PARSERS[name]
