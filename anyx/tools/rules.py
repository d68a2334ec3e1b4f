"""Correction without a language model: things are words of a vocabulary, what was not found is taken out.

    A man and two dogs on a bench.   no bench, one dog  ->  A man and one dog.
    Is there a bench? Yes.           no bench           ->  No.

A noun phrase goes with the words that join it to what is before ("and", "next to"). Where it is what a sentence begins
with, and no other thing is joined to it, the sentence says nothing that was seen: what else it names and was found is
told in its place. A number is put right where a thing is told once; "a dog" does not deny a second one. Questions of
existence and number ("Is there", "Are there two", "How many") are answered by what was found.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from anyx.scoring.chair import Phrases
from anyx.tools.interfaces import Found
from anyx.tools.words import (
    ARTICLES,
    COLOURS,
    JOINTS,
    TOKEN,
    Mention,
    inflected,
    mentions,
    number,
    plural,
    several,
    spelt,
)

Counts = Mapping[str, int]
EXISTENCE = re.compile(r"\s*(?:is|are) there\b", re.IGNORECASE)
NUMBER = re.compile(r"\s*how many\b", re.IGNORECASE)
THERE = re.compile(r"\s*there(?:'s| is| are)\s*$", re.IGNORECASE)
SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?\n]+\s*|$)")
JOINED = re.compile(r"\s*(?:,\s*(?:and|or)\b|,|(?:and|or|with)\b)\s*", re.IGNORECASE)
DENIALS = frozenset(("no", "not", "none", "nothing", "cannot"))


def counts(found: Sequence[Found], names: Sequence[str]) -> dict[str, int]:
    """How many of each name were found."""
    return {name: sum(one.word == name for one in found) for name in names}


def answered(question: str, reply: str, known: Phrases, there: Counts) -> str | None:
    """The reply to a question of existence or number, put right; None where it asks for neither, or no known thing."""
    asked = [one for one in mentions(question.split("\n")[0], known) if one.name in there]
    if not asked:
        return None
    if NUMBER.match(question):
        right = there[asked[0].name]
        said = next((token for token in TOKEN.finditer(reply) if number(token[0].lower()) is not None), None)
        if said is None:
            return str(right)
        if number(said[0].lower()) == right:
            return reply
        return reply[: said.start()] + spelt(right, said[0]) + reply[said.end() :]
    if not EXISTENCE.match(question):
        return None
    right = all(there[one.name] == one.amount if one.amount is not None else there[one.name] for one in asked)
    if _affirms(reply) == right:
        return reply
    word = "Yes" if right else "No"
    words = TOKEN.findall(reply)
    if len(words) <= 1:
        return (word.lower() if reply.strip()[:1].islower() else word) + ("." if reply.strip().endswith(".") else "")
    things = " and ".join(_told(one.name, there[one.name]) for one in asked)
    return f"{word}, there {'are' if there[asked[0].name] > 1 else 'is'} {things} in the picture."


def corrected(reply: str, known: Phrases, there: Counts, answers: Mapping[str, str]) -> str:
    """A description without what was not found, with numbers and colours (`answers` by name) as they were found."""
    sentences = [match[0] for match in SENTENCE.finditer(reply) if match[0]]
    once = [one.name for one in mentions(reply, known)]
    right = (_absent(_exact(one, known, there, answers, once), known, there) for one in sentences)
    whole = "".join(right)
    return reply if whole == reply else whole.strip()


def _exact(text: str, known: Phrases, there: Counts, answers: Mapping[str, str], all_said: Sequence[str]) -> str:
    """Colours and numbers put right, from the last to the first, so that places hold."""
    for place in reversed(range(len(mentions(text, known)))):
        one = mentions(text, known)[place]
        said = next((word for word in TOKEN.findall(answers.get(one.name, "").lower()) if word in COLOURS), None)
        if said and one.colour != (0, 0) and text[slice(*one.colour)].lower() != said:
            text = text[: one.colour[0]] + said + text[one.colour[1] :]
            one = mentions(text, known)[place]
        count = there.get(one.name, 0)
        if count and one.amount not in (None, count) and all_said.count(one.name) == 1:
            thing = inflected(text[slice(*one.words)], one.name, count, known)
            verb = rf"\1 {'is' if count == 1 else 'are'}\2"
            before = re.sub(r"\b(there) (?:is|are)(\s*)$", verb, text[: one.number[0]], flags=re.IGNORECASE)
            between = text[one.number[1] : one.words[0]]
            text = before + spelt(count, text[slice(*one.number)]) + between + thing + text[one.words[1] :]
    return text


def _absent(sentence: str, known: Phrases, there: Counts) -> str:
    """A sentence without the things that were looked for and not found; "" where nothing is left of it."""
    found, text = mentions(sentence, known), sentence
    for place, one in reversed(list(enumerate(found))):
        if there.get(one.name) != 0 or TOKEN.findall(text[slice(*one.phrase)])[0].lower() == "no":
            continue  # it was not looked for, or found, or is not said to be there
        before, after = text[: one.phrase[0]], text[one.phrase[1] :]
        rest = _listed(after, known)
        if before.strip() and not THERE.match(before):
            short = _unjoined(before, found[place - 1].words[1] if place else 0)
            text = before + rest if rest is not None and short == before.rstrip() else short + after
        elif rest is not None:
            text = before + (rest[:1].upper() + rest[1:] if not before.strip() and sentence[:1].isupper() else rest)
        else:
            return _instead(sentence, [other for other in found if there.get(other.name, 1)], known)
    return text


def _listed(after: str, known: Phrases) -> str | None:
    """What follows a thing in a list, from the next thing on; None where no list goes on."""
    if (joined := JOINED.match(after)) is None:
        return None
    rest = after[joined.end() :]
    word = TOKEN.match(rest)
    begins = word is not None and (word[0].lower() in ARTICLES or number(word[0].lower()) is not None)
    return rest if begins or any(one.phrase[0] == 0 for one in mentions(rest, known)[:1]) else None


def _unjoined(before: str, last: int) -> str:
    """The words before a thing without those that joined it to them, which stand after the `last` thing."""
    text = before.rstrip(" ,")
    while (
        (words := list(TOKEN.finditer(text, last))) and words[-1].end() == len(text) and words[-1][0].lower() in JOINTS
    ):
        text = text[: words[-1].start()].rstrip(" ,")
    return text


def _instead(sentence: str, left: Sequence[Mention], known: Phrases) -> str:
    """A sentence that names what is left of another, ending as it does; "" of nothing."""
    if not left:
        return ""
    things = [sentence[slice(*one.phrase)] for one in left]
    listed = " and ".join(filter(None, (", ".join(things[:-1]), things[-1])))
    there = "There" if sentence[:1].isupper() else "there"
    are = "are" if several(sentence[slice(*left[0].words)], known) else "is"
    return f"{there} {are} {listed}{sentence[len(sentence.rstrip('.!? ' + chr(10))) :]}"


def _told(name: str, count: int) -> str:
    if count == 1:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return f"{spelt(count, 'one')} {plural(name)}" if count else f"no {name}"


def _affirms(reply: str) -> bool:
    """Whether a reply says yes: by its first word, else by whether it denies anything."""
    words = [word.lower() for word in TOKEN.findall(reply.replace("\u2019", "'").replace("n't", " not"))]
    return words[0] == "yes" if words[:1] in (["yes"], ["no"]) else DENIALS.isdisjoint(words)
