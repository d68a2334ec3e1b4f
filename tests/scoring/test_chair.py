"""CHAIR. Expected counts were made by hand."""

import pytest

from anyx.scoring.chair import chair, mentioned, phrases

TABLE = {"dog": ["puppy"], "hot dog": [], "person": ["man", "woman", "child"], "bench": [], "bus": []}


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A man's two puppies eat hot dogs.", ["person", "dog", "hot dog"]),
        ("A puppy and dogs on benches", ["dog", "dog", "bench"]),
        ("buses and a bus, dogmatic", ["bus", "bus"]),
        ("A dog!And a bus@night", ["dog", "bus"]),
        ("", []),
    ],
)
def test_mentions(caption: str, wanted: list[str]) -> None:
    assert mentioned(caption, phrases(TABLE)) == wanted


def test_plurals_count_as_their_word() -> None:
    table = {
        "person": ["man", "woman", "child", "policeman"], "dog": ["puppy"], "knife": [], "mouse": [], "pony": [],
        "goose": [], "wolf": [], "dish": [], "toothbrush": [], "hot dog": [], "men's room": [], "die": [], "leaf": [],
    }  # fmt: skip
    known = phrases(table)
    caption = "two women, three men, children, knives, mice, puppies and ponies"
    assert mentioned(caption, known) == ["person", "person", "person", "knife", "mouse", "dog", "pony"]
    caption = "People: policemen, geese, wolves, leaves, dishes, toothbrushes, hot dogs, dice, dies. The men's room"
    assert mentioned(caption, known) == [
        "person", "person", "goose", "wolf", "leaf", "dish", "toothbrush", "hot dog", "die", "die", "men's room",
    ]  # fmt: skip
    assert mentioned("mended knife's kniv pupp dishe omen", known) == ["knife"]
    assert chair(["two women with knives and puppies"], [set()], table).by["plurals"] == "english-1@anyx"


def test_shares() -> None:
    """Of three captions one invents: CHAIR_s = 1/3. Of the mentions man, dog, dog, bus, hot dog two are not there: 2/5.

    The first picture's `woman` is a person, and the kite is in no table.
    """
    captions = ["a man and a dog", "a dog, a bus and a hot dog", "a kite"]
    found = chair(captions, [{"woman", "dog", "kite"}, {"dog"}, set()], TABLE)
    assert found.figures == pytest.approx({"chair_s": 1 / 3, "chair_i": 2 / 5})
    assert found.items == [0, 1, 0]
    assert chair([], [], TABLE).figures == {"chair_s": None, "chair_i": None}
    assert chair(captions, [set()] * 3, TABLE).by == found.by
    assert chair(captions, [set()] * 3, {**TABLE, "kite": []}).by != found.by


def test_what_is_not_allowed() -> None:
    with pytest.raises(ValueError, match="'puppy' is a word of 'dog' and of 'cat'"):
        phrases({"dog": ["puppy"], "cat": ["puppy"]})
    with pytest.raises(ValueError, match="'dog' has 'puppy'; an object has a list of words"):
        phrases({"dog": "puppy"})
    with pytest.raises(ValueError, match="row 0 has 'a dog' and 'dog'; a row has a text and a list of objects"):
        chair(["a dog"], ["dog"], TABLE)
    with pytest.raises(ValueError, match="1 captions but 0 sets"):
        chair(["a dog"], [], TABLE)
