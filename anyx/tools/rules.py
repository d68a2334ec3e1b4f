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
from anyx.tools.words import COLOURS, JOINTS, TOKEN, Mention, inflected, mentions, number, plural, spelt

Counts = Mapping[str, int]
EXISTENCE = re.compile(r"\s*(?:is|are) there\b", re.IGNORECASE)
NUMBER = re.compile(r"\s*how many\b", re.IGNORECASE)
THERE = re.compile(r"\s*there(?:'s| is| are)\s*$", re.IGNORECASE)
SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?\n]+\s*|$)")
JOINED = re.compile(r"\s*(?:,\s*(?:and|or)\b|,|(?:and|or|with)\b)\s*", re.IGNORECASE)
DENIALS = frozenset(("no", "not", "none", "nothing"))


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
        said = next((token for token in TOKEN.findall(reply) if number(token.lower()) is not None), None)
        if said is None:
            return str(right)
        return reply if number(said.lower()) == right else reply.replace(said, spelt(right, said), 1)
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
    return "".join(one for one in right if one).strip() if sentences else reply


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
    found = mentions(sentence, known)
    for one in reversed(found):
        if there.get(one.name) != 0:
            continue
        before, after = sentence[: one.phrase[0]], sentence[one.phrase[1] :]
        if before.strip() and not THERE.match(before):
            sentence = _unjoined(before) + after
        elif joined := JOINED.match(after):
            rest = after[joined.end() :]
            sentence = before + (rest if before.strip() else rest[:1].upper() + rest[1:])
        else:
            return _instead(sentence, [other for other in found if there.get(other.name, 1)])
    return sentence


def _unjoined(before: str) -> str:
    """The words before a thing without those that joined it to them."""
    text = before.rstrip(" ,")
    while (words := list(TOKEN.finditer(text))) and words[-1].end() == len(text) and words[-1][0].lower() in JOINTS:
        text = text[: words[-1].start()].rstrip(" ,")
    return text


def _instead(sentence: str, left: Sequence[Mention]) -> str:
    """A sentence that names what is left of another; "" of nothing."""
    if not left:
        return ""
    things = [sentence[slice(*one.phrase)] for one in left]
    listed = " and ".join(filter(None, (", ".join(things[:-1]), things[-1])))
    space = sentence[len(sentence.rstrip()) :]
    return f"There {'are' if (left[0].amount or 1) > 1 else 'is'} {listed}.{space}"


def _told(name: str, count: int) -> str:
    if count == 1:
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return f"{spelt(count, 'one')} {plural(name)}" if count else f"no {name}"


def _affirms(reply: str) -> bool:
    """Whether a reply says yes: by its first word, else by whether it denies anything."""
    words = [word.lower() for word in TOKEN.findall(reply.replace("n't", " not"))]
    return words[0] == "yes" if words[:1] in (["yes"], ["no"]) else DENIALS.isdisjoint(words)
