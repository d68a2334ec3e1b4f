"""Figures as words, by hand."""

from typing import Any

from anyx.evaluation import lines

CELL: dict[str, Any] = {"n": 40, "valid": 1.0, "top1": 0.9, "ci95": [0.77, 0.96], "ceiling": 1.0, "chance": 0.05}
NEAR = {"metric": "kid", "value": 0.1138, "error": 0.0689, "floor": -0.0084}


def test_a_cell_tells_its_controls_and_its_likeness() -> None:
    assert lines.cell(CELL) == "90% (77-96), valid 100%, ceiling 100%, chance 5%"
    told = "kid 0.114 \u00b1 0.069 (real -0.008)"
    assert lines.cell(CELL | {"fidelity": NEAR}) == f"90% (77-96), valid 100%, ceiling 100%, chance 5%, {told}"
    assert lines.brief(CELL | {"fidelity": NEAR}) == f"90 (77-96; 100 / 5 / 100)<br>{told}"
    assert lines.brief(None) == lines.brief(CELL | {"n": 0}) == "-"


def test_likeness_tells_neither_error_nor_floor_where_there_is_none() -> None:
    assert lines.likeness({"fidelity": None}) == lines.likeness({}) == ""
    assert lines.likeness({"fidelity": NEAR | {"error": None, "floor": None}}) == "kid 0.114"
    words = {"metric": "rouge_l", "value": 0.5, "floor": 1.0}  # has no error at all
    assert lines.likeness({"fidelity": words}) == "rouge_l 0.500 (real 1.000)"


def test_word_errors_are_told_of_transcripts() -> None:
    words = {"error_rate": 0.125, "ci95": [0.05, 0.25]}
    assert lines.word_errors(CELL | {"words": words}) == "word errors 12.5% (5.0%-25.0%)"


def test_plain_chat_is_told_where_it_was_asked() -> None:
    assert lines.plain({}) == ""
    assert lines.plain({"plain_chat": {"plain": 0.964, "n": 28}}) == "plain chat stays plain in 96.4% of 28"
