"""Tokens of captions. Expected ones were read off the published tokenizer (CoreNLP 3.4.1 through pycocoevalcap 1.2)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyx.scoring.ptb import cut


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [
        ("A man's hat, on a dog.", "a man 's hat on a dog"),
        ("'tis y'all: don\u2019t, can't, gimme", "'t is y' all do n't ca n't gim me"),
        ("rock 'n' roll in the '90s and 90's", "rock 'n' roll in the '90s and 90 's"),
        ("o'clock, ma'am, d'Artagnan", "o'clock ma'am d'artagnan"),
        ("plan b. no. 5, no. never", "plan b. no. 5 no never"),
        ("Mr. X lives in the U.S. on Main St.", "mr. x lives in the u.s. on main st."),
        ("wait... what?! no!! ok!", "wait what ?! no !! ok"),
        ("(a) [b] {c} :-)", "-lrb- a -rrb- -lsb- b -rsb- -lcb- c -rcb- :--rrb-"),
        ("$5.00, 50%, \u00a35, 3:30pm, -5 and 5-6", "$ 5.00 50 % # 5 3:30 pm -5 and 5-6"),
        ("half-eaten \u2014 1 1/2 and/or w/ b&w AT&T", "half-eaten 1\xa01/2 and/or w / b & w at&t"),
        ("dogs' \u201cquoted\u201d ``text'' 5'10\"", "dogs quoted text 5 10"),
        ("a forgotten.Blank 2nd., end", "a forgotten.blank 2nd. end"),
        ("see http://example.com/a.html, @user #tag", "see http://example.com/a.html @user #tag"),
        ("emoji \U0001f600 \u2764\ufe0f &amp; caf\u00e9", "emoji \u2764 & caf\u00e9"),
        ("'tis's gonna's cannot, cannot's", "'t is 's gonna 's can not cannot 's"),
        ("A. The dog, plan b. Mr. X, plan b. THE <b>", "a the dog plan b mr. x plan b the <b>"),  # openers
        ("A. Dog, plan b. the, c. <i>x", "a. dog plan b. the c. <i> x"),
        ("c'mon, C'MON G'day g'day s'mores M'lord U're", "c'mon c'mon g'day g day s'mores m'lord u 're"),
        ("'tisn't 'Twasn't", "'t is n't 't was n't"),
        ("5@3, me@home. 50%@3 (a@b) @ 5", "5@3, me@home 50%@3 -lrb- a@b -rrb- @ 5"),
        ("Mon.-Fri. wait...-no 5.-6 Oct.-5 Mass.-x Oct.-55", "mon.-fri wait...-no 5.-6 oct. -5 mass. x oct.-55"),
        ("end!The a?b wait!", "end!the a?b wait"),
        ("", ""),
    ],
)
def test_tokens(caption: str, wanted: str) -> None:
    assert cut(caption) == wanted


@settings(max_examples=30, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_cut(text: str) -> None:
    """It ends, in lower case and without the marks that are dropped."""
    tokens = cut(text).split()
    assert not {".", ",", ":", ";", "-", "--", "...", "''", "``", "?", "!"} & set(tokens)
    assert cut(text) == cut(f" {text} ")
