"""Letters of options, as published scorers read them out of an answer: text and options in, a letter or None out.

`options` are texts by letter, in order: {"A": "dog", "B": "cat"}. None is an answer that names no option.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

REFUSALS = (  # phrases that VLMEvalKit counts as refusing
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
NO_ANSWER = "Failed to obtain answer via API"
BLANKED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
ANSWER_IS = re.compile(r"answer\s+is\s+\**([A-D])", re.IGNORECASE)
SQA_SENTENCE = re.compile(r"The answer is ([A-Z]).")  # the full stop is any character, as published
SQA_LETTERS = "ABCDE"


def mcq_vlmeval(text: str, options: Mapping[str, str]) -> str | None:
    """VLMEvalKit's matching_util.py, without a judge: the letter, "Z" for a refusal, None where nothing is found.

    First a single letter among the last four words; then what follows "answer is", in either case and only A to D (so
    "the answer is a dog" is A); then the only option whose text is in an answer no longer than twice all options.
    """
    return (None if NO_ANSWER in text else _letter(text, options)) or _only_text(text.lower(), options)


def _letter(text: str, options: Mapping[str, str]) -> str | None:
    if any(phrase in text for phrase in REFUSALS):
        return "Z"
    words = text.translate(BLANKED).split()
    found = [letter for letter in options if letter in words]
    if len(found) == 1 and words.index(found[0]) > len(words) - 5:
        return found[0]
    if not found and "Z" in words:
        return "Z"
    said = ANSWER_IS.search(text)
    return said[1].upper() if said and said[1].upper() in options else None


def _only_text(lowered: str, options: Mapping[str, str]) -> str | None:
    if len(lowered) > 2 * sum(map(len, options.values())):
        return None
    found = [letter for letter, option in options.items() if option.lower() in lowered]
    return found[0] if len(found) == 1 else None


def mcq_mmmu(text: str, options: Mapping[str, str]) -> str | None:
    """MMMU's eval_utils.py: "(A)", else "A" between blanks, else (over five words) an option's text; the last one said.

    The reference draws a letter at random where there is none; here that is None, and the metric draws.
    """
    for mark in ",.!?;:'":
        text = text.strip(mark)
    text = f" {text} "
    for form in ("({})", " {} "):
        if letter := _last(text, {letter: form.format(letter) for letter in options}):
            return letter
    if len(text.split()) <= 5:
        return None
    return _last(text.lower(), {letter: option.lower() for letter, option in options.items()})


def _last(text: str, forms: Mapping[str, str]) -> str | None:
    """The letter whose form comes last in the text; the first letter of those that begin at the same place."""
    places = {letter: text.rfind(form) for letter, form in forms.items()}
    best = max(places, key=places.__getitem__)
    return best if places[best] >= 0 else None


def sqa_llava(text: str, options: Mapping[str, str]) -> str | None:
    """LLaVA's eval_science_qa.py: the bare letter, "B. ..." or one "The answer is B."; "B." alone is nothing."""
    if text in options:
        letter = text
    elif text[1:3] == ". " and text[0] in SQA_LETTERS:
        letter = text[0]
    else:
        said = SQA_SENTENCE.findall(text)
        letter = said[0] if len(said) == 1 else ""
    return letter if letter in options and letter in SQA_LETTERS else None


def sqa_lmms(text: str, options: Mapping[str, str]) -> str | None:
    """lmms-eval's tasks/scienceqa: the bare letter, large or small, or a large one with a full stop after it."""
    bare = text.strip()
    letter = bare[0] if bare[1:2] == "." else bare.upper()
    return letter if letter in options else None


def seed_first(text: str, options: Mapping[str, str]) -> str | None:
    """lmms-eval's tasks/seedbench: the first character that is no blank; None where that is no option."""
    first = text.strip()[:1]
    return first if first in options else None
