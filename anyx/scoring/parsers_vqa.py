"""How two scorers of visual questions write an answer before they compare it: VQA's own, and that of M4C (EvalAI).

Both take punctuation out, turn number words into digits, drop articles and put apostrophes into contractions; both have
the quirk of dropping no more than 32 full stops (a flag of `re`, passed as a count).
"""

from __future__ import annotations

import re

DIGITS = {"none": "0"} | {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
ARTICLES = frozenset({"a", "an", "the"})
MARKS = ';/[]"{}()=+\\_-><@`,?!'
STOP = re.compile(r"\.(?!\d)")
THOUSANDS = re.compile(r"\d,\d")
MOST_STOPS = 32
CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
    he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
    needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
    somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
    that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've
    we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
    who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've
    you'll you're you've
"""
# The published table holds each of these by what it is with one apostrophe left out, and one entry the wrong way round.
CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in CONTRACTED.split()
    for place, sign in enumerate(word)
    if sign == "'"
} | {"somebody'd": "somebodyd"}


def vqa_official(text: str) -> str:
    """GT-Vision-Lab's vqaEval.py: one answer, as it stands before the comparison where people did not all agree."""
    return _words(_unpunctuated(vqa_blanks(text)))


def vqa_m4c(text: str) -> str:
    """The M4C evaluator of TextVQA and VizWiz: first small letters, no "," or "?", and a blank before "'s"."""
    split = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return _words(_unpunctuated(vqa_blanks(split)))


def vqa_blanks(text: str) -> str:
    """Blanks for line ends and tabs, none around: all that the official scorer does where people agreed."""
    return text.replace("\n", " ").replace("\t", " ").strip()


def _unpunctuated(text: str) -> str:
    """A mark beside a blank goes, as do all where there is a "1,000"; any other becomes a blank."""
    number = THOUSANDS.search(text)
    clean = text
    for mark in MARKS:
        beside = f"{mark} " in text or f" {mark}" in text
        clean = clean.replace(mark, "" if beside or number else " ")
    return STOP.sub("", clean, count=MOST_STOPS)


def _words(text: str) -> str:
    digits = (DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in digits if word not in ARTICLES)
