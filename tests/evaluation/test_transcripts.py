"""Word errors. Expected counts were aligned by hand."""

import random

import pytest

from anyx.evaluation.transcripts import interval, word_errors, words_of
from anyx.scoring.edits import Edits, total


@pytest.mark.parametrize(
    ("reference", "written", "wanted"),
    [
        ("the cat sat", "the cat sat", (0, 0, 0, 3)),
        ("The cat sat.", "the CAT, sat", (0, 0, 0, 3)),
        ("the cat sat", "the bat sat", (1, 0, 0, 3)),
        ("the cat sat", "cat sat", (0, 1, 0, 3)),
        ("the cat sat", "the fat cat sat", (0, 0, 1, 3)),
        ("the cat sat", "", (0, 3, 0, 3)),
        ("", "the cat", (0, 0, 2, 0)),
        ("", "", (0, 0, 0, 0)),
        ("a b c d e", "b c x e f", (1, 1, 1, 5)),
        ("a b", "b a", (0, 1, 1, 2)),  # as many errors as two substitutions, of which jiwer counts none
        ("a b c", "d e f g", (3, 0, 1, 3)),
        ("it's well-known", "its well known", (0, 0, 0, 3)),
        ("first quarter moon", "last quarter moon moon", (1, 0, 1, 3)),
        ("\u5927\u718a\u732b", "\u5927\u732b\u3002", (0, 1, 0, 3)),
        ("\u3400\U00020000", "\U00020000", (0, 1, 0, 2)),  # Han of the extensions
        ("caf\u00e9 12", "cafe\u0301 \uff11\uff12", (0, 0, 0, 2)),
    ],
)
def test_counts(reference: str, written: str, wanted: tuple[int, ...]) -> None:
    assert word_errors(reference, written) == wanted


def test_rates() -> None:
    """Over all words: (1 + 0) / (3 + 1), not the mean of 1/3 and 0."""
    both = total([word_errors("the cat sat", "the bat sat"), word_errors("yes", "yes")])
    assert both.rate == 1 / 4
    assert word_errors("yes", "no no no").rate == 3
    assert word_errors("", "two words").rate == 2
    assert total([]).rate == 0


def test_the_count_is_the_edit_distance() -> None:
    """Against the recursion of the definition, on random texts."""

    def distance(a: list[str], b: list[str]) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(distance(a[1:], b[1:]) + (a[0] != b[0]), distance(a[1:], b) + 1, distance(a, b[1:]) + 1)

    dice = random.Random(0)
    for _ in range(60):
        reference, written = (" ".join(dice.choices("abc", k=dice.randrange(6))) for _ in range(2))
        found = word_errors(reference, written)
        assert found.substitutions + found.deletions + found.insertions == distance(reference.split(), written.split())
        assert found.words - found.deletions + found.insertions == len(written.split())


def test_the_interval_holds_the_rate() -> None:
    errors = [Edits(index % 3 == 0, 0, 0, 2) for index in range(60)]
    low, high = interval(errors)
    assert low < total(errors).rate < high
    assert interval(errors) == (low, high)
    assert interval([Edits(0, 0, 0, 2)] * 9) == (0, 0)
    assert interval([]) == (0, 1)
    assert interval([Edits(1, 0, 0, 2)]) == (0, 1)
    assert interval([Edits(1, 0, 3, 2)]) == (0, 2)


def test_words() -> None:
    assert words_of("T-shirt, O'Clock_3 \u00c9t\u00e9!") == ["t", "shirt", "oclock", "3", "\u00e9t\u00e9"]
