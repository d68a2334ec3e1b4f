"""Correction after the answer, as Woodpecker does it (Yin et al. 2023, arXiv:2310.16045), in five steps, each kept.

1. the things that a reply names; 2. questions about each: how many there are, and what they are like; 3. a detector
answers the first and an answerer, where there is one, the others; 4. what was seen is put in claims; 5. the reply is
written again by them. Steps 1, 2 and 5 are a `Language`'s: rules over a vocabulary, or prompts to a language model
(`anyx.tools.prompted`). Published are GPT-3.5, Grounding DINO and BLIP-2, with other prompts: figures do not compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from anyx.digests import digest
from anyx.grounding.boxes import Size, shares
from anyx.media import Image
from anyx.scoring.chair import Phrases
from anyx.tools import rules
from anyx.tools.interfaces import Answerer, Detector, Found
from anyx.tools.words import mentions, vocabulary


class Question(NamedTuple):
    """What is asked about a thing; of the whole picture where it names none."""

    thing: str
    text: str


@dataclass(frozen=True)
class Seen:
    """What the steps before the last have found: things, questions, boxes in pixels, answers by question, claims."""

    things: list[str]
    questions: list[Question]
    found: list[Found]
    answers: dict[str, str]
    claims: list[str]


@dataclass(frozen=True)
class Correction:
    """A reply and what became of it. `corrected` is scored; `grounded` is the same with boxes behind the things."""

    question: str
    reply: str
    seen: Seen
    corrected: str
    grounded: str

    def plain(self) -> dict[str, Any]:
        """All of it, for JSON."""
        steps = asdict(self.seen)
        steps["questions"] = [one._asdict() for one in self.seen.questions]
        steps["found"] = [one._asdict() for one in self.seen.found]
        ends = {"corrected": self.corrected, "grounded": self.grounded}
        return {"question": self.question, "reply": self.reply, **steps, **ends}


class Language(Protocol):
    """The steps that are of words."""

    name: str

    def things(self, question: str, reply: str) -> list[str]:
        """What the reply names that can be seen, and, where the question asks whether it is there, what that names."""
        ...

    def questions(self, question: str, reply: str, things: Sequence[str]) -> list[Question]:
        """What to ask about them, beside how many there are."""
        ...

    def corrected(self, question: str, reply: str, seen: Seen) -> str:
        """The reply as what was seen wants it."""
        ...

    def known(self, things: Sequence[str]) -> Phrases:
        """How the things are found in a text."""
        ...


class Rules:
    """The words of a vocabulary, handed in: names, or names with their synonyms. It asks for colours that are said."""

    def __init__(self, words: Sequence[str] | Mapping[str, Sequence[str]]) -> None:
        self.words = vocabulary(words)
        listed = (" ".join((*tokens, "=", name)) for tokens, name in sorted(self.words.items()))
        self.name = f"rules@anyx-2 {len(set(self.words.values()))} words#{digest(*listed)[:12]}"

    def known(self, things: Sequence[str]) -> Phrases:
        """The vocabulary."""
        return self.words

    def things(self, question: str, reply: str) -> list[str]:
        """Words of the vocabulary, each once, in the order of the reply, then of a question for presence or number."""
        asked = question.split("\n")[0] if rules.EXISTENCE.match(question) or rules.NUMBER.match(question) else ""
        return list(dict.fromkeys(one.name for text in (reply, asked) for one in mentions(text, self.words)))

    def questions(self, question: str, reply: str, things: Sequence[str]) -> list[Question]:
        """The colour of what the reply gives a colour, where it is named once."""
        said = mentions(reply, self.words)
        names = [one.name for one in said]
        asked = [one for one in said if one.colour != (0, 0) and names.count(one.name) == 1]
        return [Question(one.name, f"What color is the {one.name}?") for one in asked]

    def corrected(self, question: str, reply: str, seen: Seen) -> str:
        """The answer to a question of presence or number, else the description without what was not found."""
        there = rules.counts(seen.found, seen.things)
        answer = rules.answered(question, reply, self.words, there)
        if answer is not None:
            return answer
        answers = {one.thing: seen.answers[one.text] for one in seen.questions if one.text in seen.answers}
        return rules.corrected(reply, self.words, there, answers)


class Corrector:
    """The five steps with the tools given; `name` says which they are."""

    def __init__(self, detector: Detector, language: Language, answerer: Answerer | None = None) -> None:
        self.detector, self.language, self.answerer = detector, language, answerer
        answers = f", answers {answerer.name}" if answerer is not None else ""
        self.name = f"woodpecker: {language.name}, detector {detector.name}{answers}"

    def __call__(self, image: Image, question: str, reply: str) -> Correction:
        """The reply put right by what is in the picture; as it was where it names nothing."""
        things = self.language.things(question, reply)
        found = [one for one in self.detector(image, things) if one.word in things] if things else []
        there = rules.counts(found, things)
        asked = self.language.questions(question, reply, things) if things and self.answerer is not None else []
        asked = [one for one in asked if there.get(one.thing, 1)]
        texts = list(dict.fromkeys(one.text for one in asked))
        said = self.answerer(image, texts) if self.answerer is not None and texts else []
        answers = dict(zip(texts, said, strict=True))
        numbers = [Question(thing, f"How many of this are there: {thing}?") for thing in things]
        seen = Seen(things, [*numbers, *asked], found, answers, claims(things, found, answers, Size.of(image)))
        corrected = self.language.corrected(question, reply, seen) if things else reply
        return Correction(
            question, reply, seen, corrected, grounded(corrected, self.language.known(things), seen, image)
        )


def claims(things: Sequence[str], found: Sequence[Found], answers: Mapping[str, str], size: Size) -> list[str]:
    """What was seen, a sentence each: how many of each thing and where, then what was answered."""
    made = []
    for thing in things:
        boxes = [written(one, size) for one in found if one.word == thing]
        made.append(f"{thing}: {len(boxes)} found, at {'; '.join(boxes)}." if boxes else f"{thing}: none found.")
    return [*made, *(f"{question} {answer}" for question, answer in answers.items())]


def grounded(text: str, known: Phrases, seen: Seen, image: Image) -> str:
    """A text with `([x0, y0, x1, y1]; ...)` behind each thing that was found, in shares of the picture's sides."""
    for one in reversed(mentions(text, known)):
        boxes = [written(other, Size.of(image)) for other in seen.found if other.word == one.name]
        text = f"{text[: one.words[1]]}({'; '.join(boxes)}){text[one.words[1] :]}" if boxes else text
    return text


def written(found: Found, size: Size) -> str:
    """A box as shares of the picture's sides, three decimals."""
    return f"[{', '.join(f'{value:.3f}' for value in shares(found.box, size))}]"
