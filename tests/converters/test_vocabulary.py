"""Rows of added tokens: cut off, put in our order, and put back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from anyx.converters.nextgpt import ADDED
from anyx.converters.vocabulary import Vocabulary, read_added_tokens

GROUPS = {"image": "[IMG{}]", "video": "[VID{}]", "audio": "[AUD{}]"}
MIXED = ["[PAD]", "[AUD0]", "<Img>", "[IMG0]", "[IMG1]", "</Img>", "[VID0]"]


def test_version_1_has_its_ids() -> None:
    """Reference sheet A1.5: 38 tokens, image 32002-32005, video 32006-32029, audio 32030-32037."""
    vocabulary = Vocabulary(ADDED, GROUPS)
    assert len(ADDED) == 38
    assert vocabulary.ids(32038) == {
        "image": list(range(32002, 32006)),
        "video": list(range(32006, 32030)),
        "audio": list(range(32030, 32038)),
    }
    assert vocabulary.added == ("{'<Img>'}", "{'</Img>'}")
    rows = torch.arange(32038)[:, None]
    base, own = vocabulary.split(rows)
    assert (len(base), own.flatten().tolist()) == (32000, list(range(32000, 32038)))


def test_any_order_is_put_right_and_back() -> None:
    vocabulary = Vocabulary(MIXED, GROUPS)
    table = torch.randn(20, 3, dtype=torch.float16)
    base, rows = vocabulary.split(table)
    assert vocabulary.added == ("[PAD]", "<Img>", "</Img>")
    assert torch.equal(base, table[:13])
    assert torch.equal(rows, table[[13, 15, 18, 16, 17, 19, 14]])
    again = vocabulary.join(base, rows)
    assert again.dtype == torch.float16
    assert torch.equal(again, table)
    assert vocabulary.join(base, rows.float()).dtype == torch.float32
    with pytest.raises(ValueError, match="3 rows past the vocabulary, but 7 are wanted"):
        vocabulary.join(base, rows[:3])
    with pytest.raises(ValueError, match="7 rows have no room for 7 added tokens"):
        vocabulary.split(table[:7])


@pytest.mark.parametrize("tokens", [["[IMG0]", "[VID0]"], ["[IMG0]", "[IMG2]", "[VID0]", "[AUD0]"], []])
def test_a_group_with_holes_is_refused(tokens: list[str]) -> None:
    with pytest.raises(ValueError, match=r"added tokens: \[\w{3}0\] and the following are not all among them"):
        Vocabulary(tokens, GROUPS)


def test_added_tokens_are_read_by_their_ids(tmp_path: Path) -> None:
    file = tmp_path / "added_tokens.json"
    file.write_text(json.dumps({"</s>": 2, "<s>": 1, "b": 33, "a": 32, "c": 34}))
    assert read_added_tokens(file) == ["a", "b", "c"]
    for wrong, told in (
        ("{", "cannot be read"),
        ("[]", "should map tokens to ids"),
        ('{"a": "b"}', "should map"),
        ('{"a": 1, "b": 1}', "one id to several"),
    ):
        file.write_text(wrong)
        with pytest.raises(ValueError, match=told):
            read_added_tokens(file)
