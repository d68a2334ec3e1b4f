"""What benchmarks ask: a row of one -> the exact text to prompt with, and how to generate.

Texts and settings are those of lmms-eval 0.7 with its default arguments, by its task's name; a figure is comparable
with published ones of the same wording alone. Pictures are not named: they go before the text.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

SHORT = "\nAnswer the question using a single word or phrase."
LETTER = "\nAnswer with the option's letter from the given choices directly."
UNSURE = "\nWhen the provided information is insufficient, respond with 'Unanswerable'."
CAPTION = "Provide a one-sentence caption for the provided image."
REGION = (
    "Bounding box coordinates are specified in the format (top-left x, top-left y, bottom-right x, bottom-right y). "
    "All values are floating point numbers bounded between 0 and 1. Please provide the bounding box coordinate of the "
    "region this sentence describes: "
)

Row = Mapping[str, Any]


class Asked(NamedTuple):
    """The text of a prompt and the settings of its generation, in the words of `generate`."""

    text: str
    generation: dict[str, Any]


def listed(options: Mapping[str, str]) -> str:
    """`A. this`, a line an option."""
    return "\n".join(f"{letter}. {text}" for letter, text in options.items())


def lettered(options: list[str]) -> str:
    """Options by A, B, C, ..."""
    return listed({chr(ord("A") + place): text for place, text in enumerate(options)})


def scienceqa(row: Row) -> str:
    """A hint, where there is one, before the question and its choices."""
    context = f"Context: {row['hint']}\n" if row["hint"] else ""
    return f"{context}{row['question']}\n{lettered(row['choices'])}{LETTER}"


def seedbench(row: Row) -> str:
    """Four choices, each in a column of its own."""
    return f"{row['question']}\n{lettered([row[f'choice_{letter}'] for letter in 'abcd'])}{LETTER}"


def mmbench(row: Row) -> str:
    """The hint stands on the question's line; what tables hold for nothing is `nan`, of options also an empty text."""
    held = {letter: row[letter] for letter in "ABCDE" if row.get(letter) and present(row[letter])}
    hint = f"{row['hint']} " if present(row.get("hint")) else ""
    return f"{hint}{row['question']} There are several options:\n{listed(held)}\n{LETTER}"


def present(value: Any) -> bool:
    """Whether a cell of a table holds something."""
    return value is not None and str(value) != "nan"


def mmmu(row: Row) -> str:
    """Choices are a list, written as Python writes it; questions without them are open."""
    if row["question_type"] != "multiple-choice":
        return f"{row['question']}\n{SHORT}"
    options = row["options"]
    return (
        f"{row['question']}\n{lettered(ast.literal_eval(options) if isinstance(options, str) else options)}\n{LETTER}"
    )


def textvqa(row: Row) -> str:
    """A question whose first letter alone is a capital."""
    return f"{row['question'].capitalize()}{SHORT}"


def textvqa_ocr(row: Row) -> str:
    """As LLaVA asks TextVQA: the words that were read in the picture come with the question, which moves the score."""
    return f"{row['question'].capitalize()}\nReference OCR token: {', '.join(row['ocr_tokens'])}{SHORT}"


GREEDY = {"temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False}
UNTIL = {"until": ["ASSISTANT:"]}
TASKS: dict[str, tuple[Callable[[Row], str], dict[str, Any]]] = {
    "mme": (
        lambda row: row["question"].strip().replace(" Please answer yes or no.", "") + SHORT,
        {"max_new_tokens": 16, **GREEDY},
    ),
    "vqav2_val": (lambda row: row["question"] + SHORT, {"max_new_tokens": 16}),
    "gqa": (lambda row: row["question"] + SHORT, {"max_new_tokens": 16, **GREEDY}),
    "textvqa_val": (textvqa, UNTIL),
    "textvqa_val_ocr": (textvqa_ocr, UNTIL),
    "vizwiz_vqa_val": (lambda row: row["question"].capitalize() + UNSURE + SHORT, UNTIL),
    "pope": (lambda row: row["question"].strip() + SHORT, {"max_new_tokens": 128, **GREEDY}),
    "scienceqa_img": (scienceqa, {"max_new_tokens": 16, "temperature": 0, "do_sample": False}),
    "seedbench": (seedbench, {**UNTIL, "image_aspect_ratio": "original"}),
    "mmbench_en_dev": (mmbench, {**UNTIL, "max_new_tokens": 1024, **GREEDY}),
    "mmmu_val": (mmmu, {"max_new_tokens": 128}),
    "coco2017_cap_val": (lambda row: CAPTION, {"max_new_tokens": 64, **GREEDY}),
    "nocaps_val": (lambda row: CAPTION, {"max_new_tokens": 64, **GREEDY}),
    "flickr30k_test": (lambda row: CAPTION, {"max_new_tokens": 64, **GREEDY}),
    "refcoco_bbox_rec_val": (lambda row: REGION + row["answer"], UNTIL),
}


def prompt(task: str, row: Row) -> Asked:
    """What to ask for a row of a benchmark; a ValueError for an unknown task or a row that lacks a column."""
    if task not in TASKS:
        raise ValueError(f"task: {task!r} given; one of {', '.join(TASKS)}")
    write, generation = TASKS[task]
    try:
        return Asked(write(row), dict(generation))
    except KeyError as error:
        raise ValueError(f"a row of {task} has a column {error}, but {', '.join(row) or 'nothing'} was given") from None
