"""Scores of captions. Expected values were worked out by hand from the definitions."""

import math
import shutil
from importlib.util import find_spec

import pytest

from anyx.scoring.bleu import bleu, matches, plain_bleu
from anyx.scoring.captions import captions
from anyx.scoring.cider import cider_d, rarity
from anyx.scoring.rouge import rouge_l


def test_bleu_by_hand() -> None:
    """`the the cat` against `the cat sat` and `a the b c d`: words the, cat of three, for `the` counts once; pairs
    `the cat` of two; no three of one. The closest length is 3, no penalty: 2/3, sqrt(2/3 * 1/2), and nearly 0.
    """
    counts = matches(["the", "the", "cat"], [["the", "cat", "sat"], ["a", "the", "b", "c", "d"]])
    assert counts == ((2, 1, 0, 0), (3, 2, 1, 0), 3, 3)
    assert bleu(counts)[:2] == pytest.approx([2 / 3, math.sqrt(1 / 3)])
    assert bleu(counts)[2] < 1e-4
    assert plain_bleu(counts) == 0


def test_short_replies_are_punished() -> None:
    """All four words are right, of six that there are: exp(1 - 6/4). Of lengths 3 and 5 the shorter is taken."""
    six, four = ["a", "b", "c", "d", "e", "f"], ["a", "b", "c", "d"]
    assert plain_bleu(matches(four, [six])) == pytest.approx(math.exp(-0.5))
    assert bleu(matches(four, [six]))[3] == pytest.approx(math.exp(-0.5))
    assert matches(four, [list("vwxyz"), list("xyz")]).closest == 3


def test_rouge_by_hand() -> None:
    """`a b c` against `a x b`: 2 in common, P = R = 2/3, so that F is too. A second reference `c` lifts R to 1:
    F = (1 + 1.44) (2/3) / (1 + 1.44 * 2/3).
    """
    reply = ["a", "b", "c"]
    assert rouge_l(reply, [["a", "x", "b"]]) == pytest.approx(2 / 3)
    assert rouge_l(reply, [["a", "x", "b"], ["c"]]) == pytest.approx(2.44 * (2 / 3) / (1 + 1.44 * 2 / 3))
    assert rouge_l([], [["a"]]) == rouge_l(reply, [["x"]]) == 0


def test_cider_by_hand() -> None:
    """Two images, `a b` and `a c`. For n = 1 `a` is in both and weighs 0, `b` and `c` ln 2: the reply `a b` has the
    direction of the first. For n = 2 it is equal, for 3 and 4 nothing is there: (1 + 1) / 4 * 10 = 5; for the other, 0.
    A reply `a b b` has twice the weight of b, clipped to one: for n = 1 it is 1/2, for n = 2, of `a b` and `b b`, the
    cosine is 1/sqrt(2); it is a word longer: times exp(-1/72).
    """
    references = [[["a", "b"]], [["a", "c"]]]
    known = rarity(references)
    assert cider_d(["a", "b"], references[0], known) == pytest.approx(5)
    assert cider_d(["a", "b"], references[1], known) == 0
    wanted = 10 / 4 * (1 / 2 + 1 / math.sqrt(2)) * math.exp(-1 / 72)
    assert cider_d(["a", "b", "b"], references[0], known) == pytest.approx(wanted)
    found = captions({"x": ["a b"], "y": ["a c"]}, {"x": "a b", "y": "a b"})
    assert found.figures["cider"] == pytest.approx((5 + 0) / 2)
    assert found.figures["rouge_l"] == pytest.approx((1 + 1 / 2) / 2)


def test_results() -> None:
    references = {"x": ["A dog runs.", "The dog runs!"], "y": ["a cat"]}
    found = captions(references, {"x": "a dog runs", "y": "a dog"})
    assert found.figures["cider"] == pytest.approx(sum(found.items) / 2)
    assert found.details["x"]["bleu_1"] == pytest.approx(1)
    assert found.details["y"]["bleu_1"] == pytest.approx(1 / 2)
    assert found.figures["bleu_1"] == pytest.approx(4 / 5)  # of five words four
    assert found.by == {"tokenizer": "ptb-lite", "cider_df": "2 images"}
    assert captions(references, {"x": "a dog runs.", "y": "a dog"}, tokenizer="none").details["x"]["bleu_1"] != 1


@pytest.mark.skipif(shutil.which("java") is None, reason="METEOR needs Java")
@pytest.mark.skipif(find_spec("pycocoevalcap") is None, reason="METEOR needs pycocoevalcap")
def test_meteor_by_hand() -> None:
    """All of three words in two runs: 1 less the penalty 0.6 (2/3)^0.2. Two of three in one run of two: P = 1, R = 2/3,
    F = P R / (0.85 P + 0.15 R), less a share of 0.6 (1/2)^0.2 of it. The same words have no penalty.
    """
    written = {"x": "dogs run fast", "y": "fast dogs run", "z": "dogs run", "w": "seven chairs"}
    found = captions({name: ["dogs run fast"] for name in written}, written, tokenizer="none", meteor=True)
    two = (2 / 3) / (0.85 + 0.15 * 2 / 3) * (1 - 0.6 * 0.5**0.2)
    wanted = {"x": 1, "y": 1 - 0.6 * (2 / 3) ** 0.2, "z": two, "w": 0}
    assert {name: row["meteor"] for name, row in found.details.items()} == pytest.approx(wanted)


def test_rarity_may_be_held_fixed() -> None:
    """One image alone has CIDEr-D 0; with the rarity of a larger set it has its score there."""
    references = {str(n): [f"a {word} here now"] for n, word in enumerate(("dog", "cat", "bus"))}
    known = rarity([[text.split() for text in some] for some in references.values()])
    one = {"0": references["0"]}
    assert captions(one, {"0": "a dog here now"}).figures["cider"] == 0
    assert captions(one, {"0": "a dog here now"}, known=known).figures["cider"] == pytest.approx(10)


def test_what_cannot_be_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="each image has one caption and at least one reference, but not y"):
        captions({"x": ["a"]}, {"x": "a", "y": "b"})
    with pytest.raises(ValueError, match="but not x"):
        captions({"x": []}, {"x": "a"})
    with pytest.raises(ValueError, match="tokenizer: '13a' given; ptb-lite, ptb-java or none"):
        captions({"x": ["a"]}, {"x": "a"}, tokenizer="13a")
    for references, written in (({"x": "a dog"}, {"x": "a"}), ({"x": ["a dog"]}, {"x": ["a"]})):
        with pytest.raises(ValueError, match=r"captions: x has .* and references .*; a text and a list of texts"):
            captions(references, written)  # type: ignore[arg-type]
    assert set(captions({}, {}).figures.values()) == {None}
    monkeypatch.setenv("PATH", "")
    assert shutil.which("java") is None
    with pytest.raises(ValueError, match="METEOR needs Java"):
        captions({"x": ["a"]}, {"x": "a"}, meteor=True)
    with pytest.raises(ValueError, match="ptb-java needs Java"):
        captions({"x": ["a"]}, {"x": "a"}, tokenizer="ptb-java")


@pytest.mark.skipif(shutil.which("java") is None, reason="without Java that is what is missing")
@pytest.mark.skipif(find_spec("pycocoevalcap") is not None, reason="pycocoevalcap is installed")
def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"METEOR needs `pip install anyx\[captions\]`"):
        captions({"x": ["a"]}, {"x": "a"}, meteor=True)
    with pytest.raises(ValueError, match=r"ptb-java needs `pip install anyx\[captions\]`"):
        captions({"x": ["a"]}, {"x": "a"}, tokenizer="ptb-java")
