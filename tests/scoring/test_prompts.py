"""Prompts of benchmarks. Expected texts were put together by hand from the wording that each prints."""

import pytest

from anyx.scoring.prompts import TASKS, prompt

WORD = "Answer the question using a single word or phrase."
LETTER = "Answer with the option's letter from the given choices directly."


@pytest.mark.parametrize(
    ("task", "row", "wanted"),
    [
        ("scienceqa_img", {"hint": "", "question": "Why?", "choices": ["x", "y"]}, f"Why?\nA. x\nB. y\n{LETTER}"),
        ("mme", {"question": "Is it? Please answer yes or no. "}, f"Is it?\n{WORD}"),
        ("pope", {"question": " Is it?"}, f"Is it?\n{WORD}"),
        ("gqa", {"question": " Is it?"}, f" Is it?\n{WORD}"),
        (
            "mmbench_en_dev",
            {"question": "Why?", "hint": float("nan"), "A": "x", "B": "y", "C": None, "D": "nan", "E": ""},
            f"Why? There are several options:\nA. x\nB. y\n\n{LETTER}",
        ),
        (
            "mmmu_val",
            {"question": "Why?", "question_type": "multiple-choice", "options": "['x', 'y']"},
            f"Why?\nA. x\nB. y\n\n{LETTER}",
        ),
        (
            "textvqa_val_ocr",
            {"question": "what is it?", "ocr_tokens": ["STOP", "7"]},
            f"What is it?\nReference OCR token: STOP, 7\n{WORD}",
        ),
    ],
)
def test_texts(task: str, row: dict[str, object], wanted: str) -> None:
    assert prompt(task, row).text == wanted


def test_settings_are_copies() -> None:
    prompt("gqa", {"question": "Why?"}).generation["max_new_tokens"] = 1
    assert TASKS["gqa"][1]["max_new_tokens"] == 16


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="task: 'vqa' given; one of mme, vqav2_val"):
        prompt("vqa", {})
    with pytest.raises(ValueError, match="a row of gqa has a column 'question', but answer was given"):
        prompt("gqa", {"answer": "x"})
