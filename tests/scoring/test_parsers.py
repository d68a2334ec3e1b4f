import re

import pytest

from anyx.scoring.boxes import boxes
from anyx.scoring.circular import mmbench
from anyx.scoring.mme import mme
from anyx.scoring.mmmu import mmmu
from anyx.scoring.parsers import PARSERS, named
from anyx.scoring.pope import pope
from anyx.scoring.scienceqa import scienceqa
from anyx.scoring.seedbench import seedbench
from anyx.scoring.short_answers import anls, exact_match
from anyx.scoring.vqa import vqa

ANIMALS = {"A": "dog", "B": "cat"}


def test_a_parser_is_looked_up_by_name_within_its_family() -> None:
    assert named("mme@lmms", "mme") is PARSERS["mme@lmms"]
    with pytest.raises(ValueError, match=re.escape("no parser 'mme@chef' here; allowed: mme@official, mme@lmms")):
        named("mme@chef", "mme")
    with pytest.raises(ValueError, match=re.escape("allowed: pope@llava, pope@lmms")):
        named("mme@lmms", "pope")


@pytest.mark.parametrize("metric", [mme, mmbench, mmmu, pope, scienceqa, seedbench, vqa, exact_match, anls, boxes])
def test_every_metric_lists_its_parsers_before_it_reads_rows(metric: object) -> None:
    with pytest.raises(ValueError, match=r"no parser 'mine@1' here; allowed: \w+@\w+"):
        metric([], parser="mine@1")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "official", "lmms"),
    [
        ("Yes, it is", "yes", "yes"),
        ("  yes", "other", "yes"),  # the first four characters are "  ye"; lmms strips
        ("N.", "other", "no"),
        ("No. Yes", "no", "no"),
        ("", "other", "other"),
    ],
)
def test_mme(text: str, official: str, lmms: str) -> None:
    assert (PARSERS["mme@official"](text), PARSERS["mme@lmms"](text)) == (official, lmms)


@pytest.mark.parametrize(
    ("text", "llava", "lmms"),
    [
        ("No, none", "no", "other"),
        ("NO", "yes", "no"),  # no word "No", "no" or "not"; lmms lowers
        ("Yes. There is not", "yes", "other"),  # only the first sentence
        ("I do,not", "yes", "other"),  # the comma goes without a blank: one word "donot"
        ("", "yes", "other"),
    ],
)
def test_pope(text: str, llava: str, lmms: str) -> None:
    assert (PARSERS["pope@llava"](text), PARSERS["pope@lmms"](text)) == (llava, lmms)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("(B)", "B"),
        ("B is one of many that fit", "A"),  # not among the last four words, and no text; see the options below
        ("I say B, of all", "B"),
        ("A or B", None),
        ("the answer is a dog", "A"),  # what follows "answer is", in either case
        ("Cannot determine the answer: B", "Z"),
        ("Failed to obtain answer via API: B", None),
        ("Z", "Z"),
        ("It is a CAT", "B"),
        ("cat and dog", None),
    ],
)
def test_mcq_vlmeval(text: str, letter: str | None) -> None:
    options = {"A": "many that fit", "B": "no"} if "many" in text else ANIMALS
    assert PARSERS["mcq@vlmeval"](text, options) == letter


def test_mcq_vlmeval_reads_no_text_in_an_answer_over_twice_the_options() -> None:
    # dog and cat have 6 letters: "a cat indeed" has 12, "a cat, indeed" 13
    assert PARSERS["mcq@vlmeval"]("a cat indeed", ANIMALS) == "B"
    assert PARSERS["mcq@vlmeval"]("a cat, indeed", ANIMALS) is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B.", "B"),
        ("Not (A) but B or (B) then (A)", "A"),  # brackets before bare letters; the last said
        ("A then B ", "B"),
        ("it is the cat", None),  # no more than five words: texts are not looked for
        ("it is not a dog, a cat", "B"),
        ("neither", None),
    ],
)
def test_mcq_mmmu(text: str, letter: str | None) -> None:
    assert PARSERS["mcq@mmmu"](text, ANIMALS) == letter


@pytest.mark.parametrize(
    ("text", "llava", "lmms"),
    [
        ("B", "B", "B"),
        ("b", None, "B"),
        ("B. cat", "B", "B"),
        ("B.", None, "B"),
        ("The answer is B", None, None),  # a character has to follow
        ("The answer is B, I think", "B", None),
        ("The answer is A. The answer is B.", None, None),
        ("C", None, None),  # there are two options
        ("", None, None),
    ],
)
def test_scienceqa(text: str, llava: str | None, lmms: str | None) -> None:
    assert (PARSERS["sqa@llava"](text, ANIMALS), PARSERS["sqa@lmms"](text, ANIMALS)) == (llava, lmms)


def test_seed_reads_the_first_character() -> None:
    read = PARSERS["seed@first"]
    assert [read(text, ANIMALS) for text in (" B. cat", "Both", "", "(B)")] == ["B", "B", None, None]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("So x = 8.404", {8.4}),  # tails "x = 8.404" of "so ", "8.404" of "="; the shortest, a number
        ("It is 1,234.", {1234.0, 234.0}),  # plain numbers also match after the comma
        (
            "area = 2\nvolume = -3e1",
            {-30.0, 1.0},
        ),  # "=" is a cue in the last line alone; the exponent is a plain number too
        ("Blue", {"blue"}),
        ("b", {" b", "b "}),
    ],
)
def test_open_mmmu(text: str, found: set[object]) -> None:
    assert PARSERS["open@mmmu"](text) == found


@pytest.mark.parametrize(
    ("text", "official", "m4c"),
    [
        ("The Dog's  bone", "dog's bone", "dog 's bone"),
        ("two  o'clock", "2 o'clock", "2 o'clock"),
        ("dont", "don't", "don't"),
        ("red/blue", "red blue", "red blue"),  # no blank beside it: the mark becomes one
        ("red/ blue", "red blue", "red blue"),
        ("1,000/2", "10002", "1000 2"),  # a digit,digit deletes all marks; m4c drops the comma before it looks
        ("e.g. 3.5", "eg 3.5", "eg 3.5"),  # a full stop before a digit stays
        ("somebody'd", "somebodyd", "somebodyd"),  # the published table has it the wrong way round
        ("." * 40, "........", "........"),  # 32 at most are dropped
    ],
)
def test_vqa(text: str, official: str, m4c: str) -> None:
    assert (PARSERS["vqa@official"](text), PARSERS["vqa@m4c"](text)) == (official, m4c)


def test_boxes_are_the_first_in_brackets() -> None:
    read = PARSERS["box@brackets"]
    assert read("at [ .5, 1, 2, 3] or [0,-1.5, 2,3 ], [1, 2, 3, 4]") == (0, -1.5, 2, 3)  # ".5" lacks its digit
    assert read("(1, 2, 3, 4)") is None
    assert read("[1 , 2, 3, 4]") is None  # no blank before a comma


def test_texts_to_be_equal() -> None:
    assert PARSERS["gqa@lmms"]("T-Shirt! ") == "tshirt "
    assert PARSERS["gqa@llava"]("T-Shirt..") == "t-shirt"
    assert PARSERS["anls@lmms"](" No  5\n") == "no 5"
