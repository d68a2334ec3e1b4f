"""Answers of yes or no, as four published scorers read them: MME's and POPE's own, and lmms-eval's of both.

The same words give other scores under another scorer, so each reading is kept with its quirks, and named.
"""

from __future__ import annotations


def mme_official(text: str) -> str:
    """MME's calculation.py: "yes", "no" or "other", by the first four characters, blanks in front among them.

    So "yesterday" is yes, "Not sure" and "know" are no, and "  yes" is other.
    """
    return _begins(text.lower())


def mme_lmms(text: str) -> str:
    """lmms-eval's tasks/mme: as the official one without blanks around or full stops; "y" or "n" is enough."""
    bare = text.lower().strip().replace(".", "")
    return {"y": "yes", "n": "no"}.get(bare) or _begins(bare)


def pope_llava(text: str) -> str:
    """POPE's evaluate.py, also LLaVA's: "no" where the first sentence has the word No, no or not; all else is "yes".

    So "NO", "None" and an empty answer are yes.
    """
    words = text.split(".")[0].replace(",", "").split(" ")
    return "no" if {"No", "no", "not"}.intersection(words) else "yes"


def pope_lmms(text: str) -> str:
    """lmms-eval's tasks/pope: "yes" or "no" where that is all the answer says, "other" elsewhere (also for "Yes.")."""
    bare = text.lower().strip()
    return bare if bare in ("yes", "no") else "other"


def _begins(lowered: str) -> str:
    """What the first four characters hold: yes before no."""
    return next((word for word in ("yes", "no") if word in lowered[:4]), "other")
