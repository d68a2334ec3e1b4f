"""Edits and their rates. Expected counts were aligned by hand."""

import random

import pytest

from anyx.scoring.edits import Edits, edits, total, transcripts


@pytest.mark.parametrize(
    ("reference", "written", "wanted"),
    [
        ("abc", "abc", (0, 0, 0, 3)),
        ("abc", "axc", (1, 0, 0, 3)),
        ("abc", "", (0, 3, 0, 3)),
        ("", "ab", (0, 0, 2, 0)),
        ("ab", "ba", (0, 1, 1, 2)),  # one way of two edits keeps a letter, the other replaces both: jiwer keeps it
        ("abcde", "bcxef", (1, 1, 1, 5)),
    ],
)
def test_counts(reference: str, written: str, wanted: tuple[int, ...]) -> None:
    assert edits(reference, written) == wanted


def test_rates_of_a_corpus() -> None:
    """`a b c` -> `a x c d`: 1 substitution, 1 insertion, 2 hits; `e` -> `e`: 1 hit. Over both, 3 hits.

    WER = 2 / 4 words; MER = 2 / (3 + 2); WIL = 1 - (3 / 4)(3 / 5) = 11 / 20, for 5 words were written.
    Letters: `a b c` (5) -> `a x c d`: b -> x, and ` d` put in: 3 / (5 + 1).
    """
    found = transcripts([" a b c", "e"], ["a x c d ", "e"])
    assert found.figures == pytest.approx({"wer": 0.5, "cer": 0.5, "mer": 0.4, "wil": 0.55})
    assert found.details["0"] == pytest.approx({"wer": 2 / 3, "cer": 3 / 5})
    assert found.details["1"] == {"wer": 0, "cer": 0}
    assert found.n == 2


def test_blanks_are_jiwer_s() -> None:
    """A run of blanks parts words as one does, but its blanks are letters; a single tab parts no words."""
    found = transcripts(["a  b", "a\tb"], ["a b", "a b"])
    assert found.details["0"] == {"wer": 0, "cer": 1 / 4}
    assert found.details["1"] == {"wer": 2, "cer": 1 / 3}


def test_a_text_is_no_list_of_texts() -> None:
    with pytest.raises(ValueError, match="references and transcripts are lists of texts"):
        transcripts("abc", "abd")


def test_case_counts_here() -> None:
    assert transcripts(["The cat."], ["the cat"]).figures["wer"] == 1


def test_nothing_is_no_rate() -> None:
    assert set(transcripts([], []).figures.values()) == {None}
    assert total([]) == (0, 0, 0, 0)
    assert Edits(0, 0, 0, 0).lost == 0
    assert Edits(0, 0, 2, 0).lost == 1
    with pytest.raises(ValueError, match="1 references but 2 transcripts"):
        transcripts(["a"], ["a", "b"])


def test_the_count_is_the_edit_distance() -> None:
    """Against the recursion of the definition, on random texts."""

    def distance(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(distance(a[1:], b[1:]) + (a[0] != b[0]), distance(a[1:], b) + 1, distance(a, b[1:]) + 1)

    dice = random.Random(0)
    for _ in range(60):
        reference, written = ("".join(dice.choices("abc", k=dice.randrange(6))) for _ in range(2))
        found = edits(reference, written)
        assert found.errors == distance(reference, written)
        assert found.words - found.deletions + found.insertions == len(written)
        assert 0 <= found.match_rate <= 1
        assert 0 <= found.lost <= 1
