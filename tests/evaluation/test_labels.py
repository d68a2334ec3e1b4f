import pytest

from anyx.evaluation.judges import rankings
from anyx.evaluation.labels import LabelJudge

LABELS = ["cow", "cow face", "penguin", "t rex", "hot beverage", "ewe"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("A cow.", "cow"),
        ("This is a cow face.", "cow face"),
        ("It is a cow, not a penguin.", "cow"),
        ("A T-Rex!", "t rex"),
        ("The hot  beverage", "hot beverage"),
        ("An ewe.", "ewe"),
    ],
)
def test_the_named_label_comes_first(text: str, label: str) -> None:
    assert LABELS[rankings(LabelJudge(LABELS), [text])[0][0]] == label


def test_a_label_inside_a_longer_one_comes_second() -> None:
    assert [LABELS[i] for i in rankings(LabelJudge(LABELS), ["A cow face."])[0][:2]] == ["cow face", "cow"]


def test_labels_without_a_word_are_refused() -> None:
    """They would stand at the start of every text."""
    with pytest.raises(ValueError, match="'\u725b' has no word"):
        LabelJudge(["cow", "\u725b"])


@pytest.mark.parametrize("text", ["a sewer", "A pengwin.", "I do not know.", ""])
def test_fragments_and_misspellings_name_nothing(text: str) -> None:
    assert rankings(LabelJudge(LABELS), [text]) == [[]]
