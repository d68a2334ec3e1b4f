"""Correction whose steps of words are a language model's: any `TextModel`, such as the judges of `anyx.benchmarks`.

Its prompts are our own, and are versioned by `NAME`. What it says is read leniently: a line that is of another form is
left out, and an empty correction leaves the reply as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyx.scoring.chair import Phrases
from anyx.scoring.ptb import cut
from anyx.tools.correction import Question, Seen
from anyx.tools.interfaces import TextModel

NAME = "anyx-correct-1"
THINGS = """\
Someone was asked about a picture and replied. List the things in the reply that one could point at in the picture: \
objects, animals, people, not places, feelings or qualities. Where the question asks whether something is there, list \
that too. Write each in the singular, a line each, and nothing else; write NONE where there are none.

Question: {question}
Reply: {reply}"""
QUESTIONS = """\
Someone was asked about a picture and replied. For each claim of the reply about what one of these things is like \
(colour, material, posture, what it does, where it is), write a short question that can be answered by looking at the \
picture. Do not ask whether a thing is there, nor how many there are. A line each, as: thing | question. Write NONE \
where there is nothing to ask.

Things: {things}
Question: {question}
Reply: {reply}"""
CORRECTED = """\
Someone was asked about a picture and replied. Others have looked at the picture; what they saw is listed, and it is \
right. Write the reply again so that it agrees with the list: take out what is not there, put right numbers and \
qualities, keep all other words. An answer of yes or no stays one. Write the reply alone.

Seen:
{claims}

Question: {question}
Reply: {reply}"""


class Prompted:
    """A language model in the place of the rules."""

    def __init__(self, model: TextModel) -> None:
        self.model, self.name = model, f"{model.name} by {NAME}"

    def known(self, things: Sequence[str]) -> Phrases:
        """The things by their own words."""
        return {tuple(cut(thing).split()): thing for thing in reversed(things)}

    def things(self, question: str, reply: str) -> list[str]:
        """What the model lists, each once; what has no letters is left out."""
        listed = self._said(THINGS.format(question=question, reply=reply))
        return list(dict.fromkeys(line.lower() for line in listed if any(map(str.isalpha, line))))

    def questions(self, question: str, reply: str, things: Sequence[str]) -> list[Question]:
        """What the model asks about one of the things."""
        listed = self._said(QUESTIONS.format(things=", ".join(things), question=question, reply=reply))
        pairs = [tuple(part.strip() for part in line.split("|")) for line in listed]
        return [Question(pair[0].lower(), pair[1]) for pair in pairs if len(pair) == 2 and pair[0].lower() in things]

    def corrected(self, question: str, reply: str, seen: Seen) -> str:
        """The reply as the model writes it again."""
        (said,) = self.model([CORRECTED.format(claims="\n".join(seen.claims), question=question, reply=reply)])
        return said.strip() or reply

    def _said(self, prompt: str) -> list[str]:
        """The lines of an answer, without what marks them as a list; none where it is NONE."""
        (said,) = self.model([prompt])
        lines = (line.strip().lstrip("-*0123456789.) ").strip(" .") for line in said.splitlines())
        return [line for line in lines if line and line.upper() != "NONE"]
