"""Correction by rules, on sentences whose right answers are written by hand, and the five steps on drawn pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from tiny_tools import picture

from anyx.media import Image
from anyx.tools import rules
from anyx.tools.correction import Corrector, Rules
from anyx.tools.interfaces import Found
from anyx.tools.prompted import CORRECTED, QUESTIONS, THINGS, Prompted
from anyx.tools.words import mentions, vocabulary

WORDS = {"man": ["men", "guy"], "dog": ["puppy"], "hot dog": [], "bench": [], "cat": [], "bus": [], "orange": []}
KNOWN = vocabulary(WORDS)


class Oracle:
    """Finds what it is told is there: boxes by word."""

    name = "oracle"

    def __init__(self, there: dict[str, list[tuple[float, ...]]]) -> None:
        self.there, self.asked = there, list[list[str]]()

    def __call__(self, image: Image, words: Sequence[str]) -> list[Found]:
        self.asked.append(list(words))
        return [Found(word, box, 0.9) for word in words for box in self.there.get(word, [])]


class Painter:
    """Knows one colour."""

    name = "painter"

    def __init__(self, colour: str) -> None:
        self.colour, self.asked = colour, list[str]()

    def __call__(self, image: Image, questions: Sequence[str]) -> list[str]:
        self.asked += questions
        return [f"It is {self.colour}."] * len(questions)


class Script:
    """A language model that answers each prompt by its beginning and keeps what it was asked."""

    name = "script"

    def __init__(self, *answers: str) -> None:
        self.answers, self.prompts = list(answers), list[str]()

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        self.prompts += prompts
        return [self.answers.pop(0) for _ in prompts]


def test_mentions_and_what_is_said_of_them() -> None:
    text = "Two big brown dogs and a hot dog on the 3 benches; an orange, guy."
    found = mentions(text, KNOWN)
    assert [one.name for one in found] == ["dog", "hot dog", "bench", "orange", "man"]
    assert [text[slice(*one.phrase)] for one in found] == [
        "Two big brown dogs", "a hot dog", "the 3 benches", "an orange", "guy",
    ]  # fmt: skip
    assert [one.amount for one in found] == [2, None, 3, None, None]
    assert [text[slice(*one.colour)] for one in found] == ["brown", "", "", "", ""]


@pytest.mark.parametrize(
    ("text", "there", "wanted"),
    [
        ("A man and a dog on a bench.", "man bench", "A man on a bench."),
        ("A man and a dog on a bench.", "man dog", "A man and a dog."),
        ("A man and a dog on a bench.", "dog bench", "A dog on a bench."),
        ("A man, a cat and a big dog sit next to a bench.", "man dog", "A man and a big dog sit."),
        ("A cat sits on a bench. A man waves.", "man bench", "There is a bench. A man waves."),
        ("A cat sits. A man waves.", "man", "A man waves."),
        ("A cat sits.", "", ""),
        ("There is a dog and a cat.", "cat", "There is a cat."),
        ("There is a dog in the picture.", "", ""),
        ("a man in front of a bus", "man", "a man"),
        ("A man eats a hot dog.", "man dog", "A man eats."),
        ("A sunny day.", "", "A sunny day."),
        ("Two dogs and three cats.", "dog dog cat", "Two dogs and one cat."),
        ("There are two dogs on 1 bench.", "dog bench bench", "There is one dog on 2 benches."),
        ("one puppy", "dog dog dog", "three puppies"),
        ("a dog", "dog dog", "a dog"),
        ("one dog left, one dog right", "dog dog dog", "one dog left, one dog right"),
        ("two men", "man", "one man"),
        ("A cat watches a dog and a man on a bench.", "man bench", "There is a man and a bench."),
        ("A man watches a cat and a dog.", "man dog", "A man watches a dog."),
        ("a dog and a cat and a man", "man", "a man"),
        ("a cat, sitting on benches", "bench", "there are benches"),
        ("TWO DOGS!", "dog", "One DOG!"),
        ("  A man.\n", "man", "  A man.\n"),
        ("one man and 2 buses", "man man bus", "two men and 1 bus"),
        ("There is no dog. A man and no cat.", "man", "There is no dog. A man and no cat."),
    ],
)  # fmt: skip
def test_descriptions(text: str, there: str, wanted: str) -> None:
    """`there` are the things that a detector found, again for each box; all others of the text were looked for."""
    found = {name: there.split().count(name) for name in WORDS}
    assert rules.corrected(text, KNOWN, found, {}) == wanted


@pytest.mark.parametrize(
    ("question", "reply", "dogs", "wanted"),
    [
        ("Is there a dog in the image?", "Yes", 0, "No"),
        ("Is there a dog in the image?", "yes.", 0, "no."),
        ("Is there a dog in the image?\nAnswer in one word.", "No.", 2, "Yes."),
        ("Is there a dog in the image?", "Yes, a brown one.", 0, "No, there is no dog in the picture."),
        ("Is there a dog in the image?", "There isn't any.", 1, "Yes, there is a dog in the picture."),
        ("Is there a dog in the image?", "I can see none.", 2, "Yes, there are two dogs in the picture."),
        ("Is there a dog in the image?", "There isn\u2019t any.", 1, "Yes, there is a dog in the picture."),
        ("Is there a dog in the image?", "I cannot see it.", 1, "Yes, there is a dog in the picture."),
        ("Is there a dog in the image?", "Yes", 1, "Yes"),
        ("Are there two dogs?", "Yes", 3, "No"),
        ("Are there two dogs?", "No", 2, "Yes"),
        ("How many dogs are there?", "There are two.", 3, "There are three."),
        ("How many dogs are there?", "4", 3, "3"),
        ("How many dogs are there?", "Someone has one.", 3, "Someone has three."),
        ("How many dogs are there?", "Many", 3, "3"),
        ("Is there a unicorn?", "Yes", 0, None),
        ("Where is the dog?", "Left", 0, None),
    ],
)
def test_answers(question: str, reply: str, dogs: int, wanted: str | None) -> None:
    assert rules.answered(question, reply, KNOWN, {"dog": dogs}) == wanted


def test_five_steps_on_a_drawn_picture() -> None:
    """Of 100 x 50: dogs at (10, 10, 30, 40) and (50, 10, 70, 40), no cat; the answerer sees black where red is said.

    Shares: 10/100, 10/50, 30/100, 40/50 and 50/100, 10/50, 70/100, 40/50.
    """
    image = picture(100, 50, (10, 10, 30, 40), (50, 10, 70, 40))
    oracle = Oracle({"dog": [(10, 10, 30, 40), (50, 10, 70, 40)], "man": [(0, 0, 100, 50)]})
    painter = Painter("Black")
    made = Corrector(oracle, Rules(WORDS), painter)(image, "Describe it.", "Three red dogs and a blue cat.")
    one, other = "[0.100, 0.200, 0.300, 0.800]", "[0.500, 0.200, 0.700, 0.800]"
    assert made.seen.things == ["dog", "cat"]
    assert oracle.asked == [["dog", "cat"]]
    assert painter.asked == ["What color is the dog?"], "there is no cat to ask about"
    assert [question.text for question in made.seen.questions] == [
        "How many of this are there: dog?", "How many of this are there: cat?", "What color is the dog?",
    ]  # fmt: skip
    assert made.seen.claims == [
        f"dog: 2 found, at {one}; {other}.", "cat: none found.", "What color is the dog? It is Black.",
    ]  # fmt: skip
    assert made.corrected == "Two black dogs."
    assert made.grounded == f"Two black dogs({one}; {other})."
    plain = json.loads(json.dumps(made.plain()))
    assert list(plain) == [
        "question", "reply", "things", "questions", "found", "answers", "claims", "corrected", "grounded",
    ]  # fmt: skip
    assert plain["found"][0] == {"word": "dog", "box": [10, 10, 30, 40], "score": 0.9}
    assert Corrector(oracle, Rules(WORDS), painter)(image, "Describe it.", "Three red dogs and a blue cat.") == made


def test_what_was_not_asked_for_is_left_alone() -> None:
    """A detector that finds other words than it was asked for."""

    class Talkative(Oracle):
        def __call__(self, image: Image, words: Sequence[str]) -> list[Found]:
            return [*super().__call__(image, words), Found("zebra", (0, 0, 9, 9), 0.5)]

    made = Corrector(Talkative({"dog": [(0, 0, 10, 10)]}), Rules(WORDS))(picture(), "What is it?", "A dog.")
    assert [one.word for one in made.seen.found] == ["dog"]


def test_without_an_answerer_and_without_things() -> None:
    oracle = Oracle({"dog": [(0, 0, 10, 10)]})
    corrector = Corrector(oracle, Rules(WORDS))
    assert corrector(picture(), "What is it?", "A red dog.").corrected == "A red dog."
    made = corrector(picture(), "What is it?", "Fun.")
    assert (made.corrected, made.grounded, made.seen.claims, len(oracle.asked)) == ("Fun.", "Fun.", [], 1)
    assert corrector.name == f"woodpecker: {Rules(WORDS).name}, detector oracle"
    assert Rules(WORDS).name != Rules(["dog"]).name


def test_a_language_model_in_the_place_of_the_rules() -> None:
    script = Script("1. Dog\n- cat\n\n", "Dog | What is it doing?\nzebra | Why?\nhm", " The dog sits. ")
    image, question, reply = picture(100, 50), "What is there?", "A dog runs after a cat."
    corrector = Corrector(Oracle({"dog": [(10, 10, 30, 40)]}), Prompted(script), Painter("sitting"))
    made = corrector(image, question, reply)
    assert made.seen.things == ["dog", "cat"]
    assert made.seen.answers == {"What is it doing?": "It is sitting."}
    assert script.prompts == [
        THINGS.format(question=question, reply=reply),
        QUESTIONS.format(things="dog, cat", question=question, reply=reply),
        CORRECTED.format(claims="\n".join(made.seen.claims), question=question, reply=reply),
    ]
    assert "cat: none found." in script.prompts[2]
    assert made.corrected == "The dog sits."
    assert made.grounded == "The dog([0.100, 0.200, 0.300, 0.800]) sits."
    assert Corrector(Oracle({}), Prompted(Script("NONE")))(image, question, reply).corrected == reply
    empty = Script("cat", "")
    assert Corrector(Oracle({}), Prompted(empty))(image, question, reply).corrected == reply, "it corrects nothing"
    assert len(empty.prompts) == 2, "without an answerer no questions are asked for"
